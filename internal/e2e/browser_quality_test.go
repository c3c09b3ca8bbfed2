package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browserLedger opens the ledger's panel and reads it while events come.
func browserLedger(t *testing.T, b *browser) {
	s := startServer(t)
	s.Send("a:1|c", "a:2|c", "bad:x|c")
	require.Equal(t, 200, s.Ingest(somebody, 1, "a:1|c", "<b>:x|c"))
	s.AwaitReceived(5)
	p := b.open(t, s, "/?m=a")
	p.untilTotal(4) // 1 + 2, and 1 of the batch
	const state = `document.querySelector('[data-testid="ledger-light"]')?.dataset.state ?? ''`
	eventually(t, drawnLimit, func() (bool, string) {
		got := eval[string](p, state)
		return got == "ok", fmt.Sprintf("the light is %q", got)
	})
	p.do(chromedp.Click(hook("ledger")))
	rows := func() map[string]string {
		return eval[map[string]string](p, `Object.fromEntries([...document.querySelectorAll('[data-testid="quality"] tr')]
			.filter((r) => r.cells.length === 2).map((r) => [r.cells[0].textContent, r.cells[1].textContent]))`)
	}
	shows := func(want map[string]string) {
		t.Helper()
		eventually(t, drawnLimit, func() (bool, string) {
			got := rows()
			ok := true
			for name, n := range want {
				ok = ok && got[name] == n
			}
			text, _ := json.Marshal(got) // only for people to read
			return ok, string(text)
		})
	}
	shows(map[string]string{"Received": "5", "Accepted": "3", "Rejected": "2", "bad_value": "2", "Stored": "3", "Lost in crashes, ever": "0"})
	require.Equal(t, 200, s.Ingest(somebody, 1, "a:1|c", "<b>:x|c"))
	shows(map[string]string{"Received": "7", "Duplicate": "2"})
	require.Contains(t, eval[string](p, `document.querySelector('[data-testid="ledger-verdict"]').textContent`), "Every event is accounted for")
	require.Zero(t, eval[int](p, `document.querySelectorAll('tr.wrong').length - 2`), "what was rejected, and its reason")
	eventually(t, drawnLimit, func() (bool, string) {
		text := eval[string](p, `document.querySelector('[data-testid="storage"]')?.innerText ?? ''`)
		return strings.Contains(text, "Storage: ") && strings.Contains(text, "400d") && strings.Contains(text, "Largest metrics"), text
	})
	require.Equal(t, "a", eval[string](p, `document.querySelector('[data-testid="storage-metrics"] tbody th').textContent`))
	p.do(chromedp.Click(hook("total-name"))) // elsewhere
	require.Empty(t, rows())
}
