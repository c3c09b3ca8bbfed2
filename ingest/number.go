package ingest

import (
	"math"
	"strconv"
	"unsafe"
)

var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// number reads a decimal number, with optional sign, fraction and exponent, that
// fills b: the float64 nearest to it. NaN, Inf, hexadecimal, underscores and
// blanks are not numbers.
func number(b []byte) (v float64, ok bool) {
	i, neg := 0, false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg, i = b[0] == '-', 1
	}
	var mantissa uint64
	digits, fraction := 0, 0
	for ; i < len(b); i++ {
		c := b[i]
		if d := c - '0'; d <= 9 {
			mantissa = mantissa*10 + uint64(d)
			digits++
		} else if c == '.' && fraction == 0 {
			fraction = digits + 1 // places are counted from here
			continue
		} else {
			return slowNumber(b)
		}
		if digits > 15 {
			return slowNumber(b)
		}
	}
	if digits == 0 {
		return 0, false
	}
	v = float64(mantissa)
	if fraction != 0 {
		// Both are exact in float64, so that the quotient is rounded once
		// (Clinger 1990, "How to read floating point numbers accurately").
		v /= pow10[digits-fraction+1]
	}
	if neg {
		v = -v
	}
	return v, true
}

func slowNumber(b []byte) (float64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(unsafe.String(&b[0], len(b)), 64)
	return v, err == nil
}

// rateWeight reads a sample rate, above 0 and at most 1, as the fraction by
// which one event is to be multiplied.
func rateWeight(b []byte) (num, den float64, ok bool) {
	rate, ok := number(b)
	if !ok || !(rate > 0 && rate <= 1) {
		return 0, 0, false
	}
	// 0.3 is 3/10: an event stands for 10/3 of itself. Any decimal of up to 15
	// places is such a fraction of whole numbers.
	for places := range pow10 {
		n := math.Round(rate * pow10[places])
		if n >= 1 && n/pow10[places] == rate {
			g := float64(gcd(uint64(n), uint64(pow10[places])))
			return pow10[places] / g, n / g, true
		}
	}
	return 1 / rate, 1, 1/rate <= math.MaxFloat64
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
