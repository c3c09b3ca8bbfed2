package app

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/config"
	"cairn/internal/selfmon"
)

// listener receives events: *ingest.UDP, *ingest.UDS or *ingest.TCP.
type listener interface {
	Start(failed func(error))
	Close() error
	Addr() string
	Counts() (ingest.Counts, ingest.Samples)
	Sockets() []ingest.Socket
	Feeders() []*ingest.Feeder
}

// plan is one listener to open. One of address and inherited is set.
type plan struct {
	kind      selfmon.Kind
	dialect   string
	address   string
	inherited ingest.Inherited
	parser    *ingest.Parser
	stripes   []*agg.Stripe
}

// opened is a listener with what it is.
type opened struct {
	listener
	stripes []*agg.Stripe
	Kind    selfmon.Kind
	Dialect string
}

// planListeners lists what to listen on: the sockets that were handed over, and
// of each sort of which there is none, what is configured. The stream called
// http is the dashboard's.
func planListeners(c config.Config) (plans []*plan, http net.Listener, err error) {
	var problems []error
	inherited := map[selfmon.Kind]bool{}
	for _, s := range c.Inherited {
		in, err := ingest.Inherit(s.FD, s.Name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if in.Stream != nil && s.Name == "http" && http == nil {
			http = in.Stream
			continue
		}
		p := &plan{dialect: s.Dialect, inherited: in}
		switch {
		case in.UDP != nil:
			p.kind = selfmon.UDP
		case in.UDS != nil:
			p.kind = selfmon.UDS
		default:
			p.kind = selfmon.TCP
		}
		inherited[p.kind] = true
		plans = append(plans, p)
	}
	for kind, listens := range [...][]config.Listen{selfmon.UDP: c.UDP, selfmon.UDS: c.UDS, selfmon.TCP: c.TCP} {
		if inherited[selfmon.Kind(kind)] {
			continue
		}
		for _, l := range listens {
			plans = append(plans, &plan{kind: selfmon.Kind(kind), dialect: l.Dialect, address: l.Address})
		}
	}
	if err := errors.Join(problems...); err != nil {
		if http != nil {
			err = errors.Join(err, http.Close())
		}
		return nil, nil, errors.Join(err, closePlans(plans))
	}
	return plans, http, nil
}

// closePlans closes the inherited sockets of listeners that are not opened.
func closePlans(plans []*plan) error {
	var errs []error
	for _, p := range plans {
		errs = append(errs, p.inherited.Close())
	}
	return errors.Join(errs...)
}

// readers returns how many stripes the listener needs.
func (p *plan) readers(c config.Config) int {
	if p.kind == selfmon.UDP && p.address != "" {
		return c.Readers
	}
	return 1
}

func parserOf(dialect string, c config.Config) *ingest.Parser {
	p := &ingest.Parser{Limits: c.Line, OriginTags: c.OriginTags, MaxAge: c.Retention.Longest()}
	switch dialect {
	case "dogstatsd":
		p.Dialect = ingest.DogStatsD
	case "etsy":
		p.Dialect = ingest.Etsy
	case "brubeck":
		p.Dialect = ingest.Brubeck
	default:
		panic("BUG: a dialect that config let pass: " + dialect)
	}
	return p
}

// open opens the listener.
func (p *plan) open(c config.Config, env Env) (_ opened, err error) {
	first, in := p.stripes[0], p.inherited
	var l listener
	switch p.kind {
	case selfmon.UDP:
		if in.UDP != nil {
			l, err = ingest.AdoptUDP(in.UDP, first, p.parser, c.UDPBuffer, env.Clock)
		} else {
			l, err = ingest.ListenUDP(p.address, p.stripes, p.parser, c.UDPBuffer, env.Clock)
		}
	case selfmon.UDS:
		if in.UDS != nil {
			l, err = ingest.AdoptUDS(in.UDS, first, p.parser, env.Clock)
		} else {
			l, err = ingest.ListenUDS(p.address, c.UDSMode, first, p.parser, env.Clock)
		}
	case selfmon.TCP:
		if in.Stream != nil {
			l, err = ingest.AdoptTCP(in.Stream, first, p.parser, env.Clock)
		} else {
			l, err = ingest.ListenTCP(p.address, first, p.parser, env.Clock)
		}
	}
	if err != nil {
		return opened{}, err
	}
	return opened{l, p.stripes, p.kind, p.dialect}, nil
}

// openListeners opens all plans, or none.
func (a *App) openListeners(plans []*plan) error {
	for i, p := range plans {
		o, err := p.open(a.config, a.env)
		if err != nil {
			return errors.Join(err, closePlans(plans[i+1:]))
		}
		a.listeners = append(a.listeners, o)
	}
	return nil
}

// closeListeners drains all listeners side by side: each may take its time.
func (a *App) closeListeners() error {
	errs := make([]error, len(a.listeners))
	var wg sync.WaitGroup
	for i, l := range a.listeners {
		wg.Go(func() { errs[i] = l.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// counts adds up what all listeners received.
func counts(listeners []opened) (total ingest.Counts, samples ingest.Samples) {
	for _, l := range listeners {
		c, s := l.Counts()
		total.Add(c)
		samples.Add(s)
	}
	return total, samples
}

// figures returns the listeners' figures, for /metrics.
func (a *App) figures() []selfmon.Listener {
	var out []selfmon.Listener
	for _, l := range a.listeners {
		f := selfmon.Listener{Kind: l.Kind, Sockets: l.Sockets()}
		f.Counts, _ = l.Counts()
		if t, ok := l.listener.(*ingest.TCP); ok {
			f.Conns = t.Conns()
		}
		out = append(out, f)
	}
	return out
}

// addresses returns the addresses of all listeners of a kind.
func (a *App) addresses(kind selfmon.Kind) []string {
	out := []string{}
	for _, l := range a.listeners {
		if l.Kind == kind {
			out = append(out, l.Addr())
		}
	}
	return out
}

// Listener describes one listener, for people.
type Listener struct {
	Kind    string // UDP, UDS or TCP
	Dialect string
	Addr    string
}

// Listeners describes all listeners.
func (a *App) Listeners() []Listener {
	var out []Listener
	for _, l := range a.listeners {
		out = append(out, Listener{fmt.Sprint(l.Kind), l.Dialect, l.Addr()})
	}
	return out
}

// UDPAddr returns the address that datagrams go to, the first if there are
// several; it is empty if there is none.
func (a *App) UDPAddr() string {
	if all := a.addresses(selfmon.UDP); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Rejects reports what was rejected since the start.
func (a *App) Rejects() ingest.Report {
	feeders := []*ingest.Feeder{a.inject}
	for _, l := range a.listeners {
		feeders = append(feeders, l.Feeders()...)
	}
	return ingest.Rejects(a.engine.Batches, feeders...)
}
