package flush

import "log/slog"

// complaint is what was last said of one kind of work that is tried again and again.
type complaint struct {
	text string // of its error; "": it goes well
}

// tell logs the first of several errors that say the same, and their end. err is of an attempt
// that was made.
func (c *complaint) tell(log *slog.Logger, err error, failing, ended string) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == c.text:
		return
	case err != nil:
		log.Error(failing, "error", err)
	default:
		log.Info(ended)
	}
	c.text = text
}
