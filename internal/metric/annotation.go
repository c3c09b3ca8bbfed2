package metric

// Annotation is an event or a service check of DogStatsD: text that is shown on
// charts at its time, and not counted.
type Annotation struct {
	Time     UnixSec
	Check    bool   // a service check; else an event
	Title    string // of an event; a check's name
	Text     string // of an event; a check's message
	Status   string // an event's alert type: info, success, warning, error; a check's status: ok, warning, critical, unknown
	Priority string // of an event: normal or low
	Host     string // as the line has it; may be empty
	Key      string // an event's aggregation key
	Source   string // an event's source type
	Tags     Tagset
}
