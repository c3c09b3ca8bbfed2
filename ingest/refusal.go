package ingest

import "fmt"

// Refusal is why a batch as a whole was not taken: nothing of it counts.
type Refusal struct {
	Status   int    // of HTTP
	Sentence string // what was wrong, and what is allowed
	Param    string // that it is about; "": none
	Wait     int    // seconds after which to try again; 0: trying again does not help
	Shed     Shed   // why a batch with nothing wrong was refused; ShedNone: it was wrong
}

// Statuses of HTTP that refusals have.
const (
	statusBad         = 400
	statusSlow        = 408
	statusConflict    = 409
	statusTooLarge    = 413
	statusUnknownType = 415
	statusOverShare   = 429
	statusUnavailable = 503
)

// Shed says why a batch with nothing wrong was not taken.
type Shed uint8

const (
	ShedNone        Shed = iota
	ShedFull             // the gate is full
	ShedLow              // of low priority, and the gate is half full
	ShedShare            // its producer holds its share of the gate
	ShedUnavailable      // the server cannot take any for now: Options.Unavailable
	ShedMemory           // memory for open buckets is full
	ShedDisk             // there is no space for the journal
	ShedJournal          // the journal failed
	ShedBusy             // the same sequence was under way for too long
	ShedProducers        // too many producers are known
	ShedStopping         // the server stops
	NumSheds
)

// String returns the name that /metrics uses.
func (s Shed) String() string {
	return [...]string{
		ShedNone: "none", ShedFull: "full", ShedLow: "low_priority", ShedShare: "share", ShedUnavailable: "unavailable",
		ShedMemory: "memory", ShedDisk: "disk_full", ShedJournal: "journal", ShedBusy: "busy", ShedProducers: "producers",
		ShedStopping: "stopping",
	}[s]
}

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Sentence: fmt.Sprintf(format, args...)}
}
