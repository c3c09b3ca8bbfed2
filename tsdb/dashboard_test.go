package tsdb

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestGoldenDashboard holds the bytes that docs/format.md draws.
func TestGoldenDashboard(t *testing.T) {
	d := Dashboard{DashboardHead{258, 3, 1000, "shop"}, []byte("{}")}
	require.Equal(t, []byte("\x17\x00\x00\x00\x00\x00\x00\x01\x02"), dashboardKey(258))
	require.Equal(t, []byte("\x01\x03\xe8\x07\x04shop"), appendHead(nil, &d.DashboardHead))
	require.Equal(t, []byte("\x18\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x03"), versionKey(258, 3))
	require.Equal(t, []byte("\x01\xe8\x07\x04shop{}"), appendVersion(nil, &d))
	id := metric.ID{Name: "signups", Kind: metric.Counter}
	require.Equal(t, []byte("\x19\x01signups"), descriptionKey(id))
	require.Equal(t, []byte("\x01\x07by form\x06people"), Description{"by form", "people"}.value())
}

// TestDashboards: what was answered is there after a power cut and in a checkpoint, and who
// saves on top of an old version is refused.
func TestDashboards(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk)
	a, err := s.AddDashboard("b", []byte("one"), 10)
	require.NoError(t, err)
	b, err := s.AddDashboard("a", []byte("other"), 11)
	require.NoError(t, err)
	require.NotEqual(t, a.ID, b.ID)
	a2, err := s.SaveDashboard(a.ID, 1, "c", []byte("two"), 12)
	require.NoError(t, err)
	require.Equal(t, DashboardHead{a.ID, 2, 12, "c"}, a2)
	_, err = s.SaveDashboard(a.ID, 1, "c", []byte("three"), 13)
	require.ErrorIs(t, err, ErrChanged)
	require.ErrorContains(t, err, "version 2, and this change is one of version 1")
	require.ErrorIs(t, s.DeleteDashboard(a.ID, 1), ErrChanged)
	_, err = s.SaveDashboard(a.ID^1, 1, "c", nil, 13)
	require.ErrorIs(t, err, ErrNoDashboard)
	require.NoError(t, s.Checkpoint("copy/store"))
	require.NoError(t, s.DeleteDashboard(b.ID, 1))
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, s.Close())
	_, err = s.Dashboard(a.ID, 0)
	require.ErrorIs(t, err, ErrClosed)

	s = open(t, crashed)
	require.Equal(t, []DashboardHead{a2}, s.Dashboards())
	for version, text := range map[uint32]string{0: "two", 1: "one", 2: "two"} {
		d, err := s.Dashboard(a.ID, version)
		require.NoError(t, err)
		require.Equal(t, text, string(d.Text))
	}
	_, err = s.Dashboard(a.ID, 3)
	require.ErrorIs(t, err, ErrNoVersion)
	_, err = s.Dashboard(b.ID, 1)
	require.ErrorIs(t, err, ErrNoDashboard)
	list, err := s.DashboardVersions(a.ID)
	require.NoError(t, err)
	require.Equal(t, []DashboardHead{a2, a}, list)
	require.NoError(t, s.walkDocuments(versionKey(b.ID, 0), versionKey(b.ID, 9), func(key, _ []byte) error { return fmt.Errorf("%x is still there", key) }))
	require.NoError(t, s.Close())

	c, err := Open("copy", Options{FS: disk, Cache: 1 << 20})
	require.NoError(t, err)
	require.Equal(t, []DashboardHead{b, a2}, c.Dashboards(), "by title, as of the checkpoint")
	require.NoError(t, c.Close())
}

// TestDashboardsAreBounded: the oldest versions go, by number and by size, the newest never.
func TestDashboardsAreBounded(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	h, err := s.AddDashboard("many", nil, 1)
	require.NoError(t, err)
	kept := func() (first, n int) {
		list, err := s.DashboardVersions(h.ID)
		require.NoError(t, err)
		return int(list[len(list)-1].Version), len(list)
	}
	for h.Version < 60 {
		h, err = s.SaveDashboard(h.ID, h.Version, "many", []byte("x"), 1)
		require.NoError(t, err)
	}
	first, n := kept()
	require.Equal(t, []int{60 - KeepVersions + 1, KeepVersions}, []int{first, n})
	_, err = s.Dashboard(h.ID, 10)
	require.ErrorIs(t, err, ErrNoVersion)
	for range 10 {
		h, err = s.SaveDashboard(h.ID, h.Version, "large", bytes.Repeat([]byte("x"), MaxDashboard), 1)
		require.NoError(t, err)
	}
	_, n = kept()
	require.Equal(t, KeepBytes/MaxDashboard-1+1, n+1, "with what stands before the texts they are a little larger")
	_, err = s.SaveDashboard(h.ID, h.Version, "larger", make([]byte, MaxDashboard+1), 1)
	require.ErrorIs(t, err, ErrLargeDashboard)
	for len(s.Dashboards()) < MaxDashboards {
		_, err := s.AddDashboard("", nil, 1)
		require.NoError(t, err)
	}
	_, err = s.AddDashboard("", nil, 1)
	require.ErrorIs(t, err, ErrManyDashboards)
}

// TestOneSaverWins: of those who save on top of the same version one gets through, beside flushes.
func TestOneSaverWins(t *testing.T) {
	s := open(t, vfs.NewMem())
	h, err := s.AddDashboard("0", []byte("0"), 1)
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	wins, problems := map[uint32]string{}, []string{}
	for who := range 4 {
		wg.Go(func() {
			for had := uint32(1); had <= 20; had++ {
				text := fmt.Sprint(who, had)
				got, err := s.SaveDashboard(h.ID, had, text, []byte(text), 1)
				d, err2 := s.Dashboard(h.ID, 0)
				mu.Lock()
				_, twice := wins[got.Version]
				switch {
				case err2 != nil || d.Version <= had:
					problems = append(problems, fmt.Sprint("behind: ", d.Version, had, err2))
				case err != nil && !errors.Is(err, ErrChanged):
					problems = append(problems, err.Error())
				case err == nil && twice:
					problems = append(problems, fmt.Sprint("twice: ", got.Version))
				case err == nil:
					wins[got.Version] = text
				}
				mu.Unlock()
			}
		})
	}
	for i := range 20 {
		b := s.NewBatch()
		r, err := b.Ref(seriesOf("m"))
		require.NoError(t, err)
		require.NoError(t, b.Add(r, []metric.Sum{{Sec: metric.UnixSec(i), Events: 1, Value: 1}}))
		require.NoError(t, b.Commit())
	}
	wg.Wait()
	require.Empty(t, problems)
	require.Len(t, wins, 20)
	for version, text := range wins {
		d, err := s.Dashboard(h.ID, version)
		require.NoError(t, err)
		require.Equal(t, text, string(d.Text))
	}
	require.NoError(t, s.Close())
}

// TestDescriptions: they survive, the zero one takes them away, and there is a bound.
func TestDescriptions(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk)
	count, set := metric.ID{Name: "m", Kind: metric.Counter}, metric.ID{Name: "m", Kind: metric.Set}
	require.NoError(t, s.Describe(count, Description{"a", "b"}))
	require.NoError(t, s.Describe(set, Description{"c", ""}))
	require.NoError(t, s.Describe(count, Description{"", "ms"}))
	require.Error(t, s.Describe(count, Description{strings.Repeat("x", MaxDescription+1), ""}))
	require.Error(t, s.Describe(count, Description{"", strings.Repeat("x", MaxUnit+1)}))
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, s.Close())
	s = open(t, crashed)
	require.Equal(t, map[metric.ID]Description{count: {"", "ms"}, set: {"c", ""}}, s.Descriptions())
	require.NoError(t, s.Describe(set, Description{}))
	s.Descriptions()[set] = Description{"not theirs", ""}
	require.NoError(t, s.Close())
	s = open(t, crashed)
	defer func() { require.NoError(t, s.Close()) }()
	require.Equal(t, map[metric.ID]Description{count: {"", "ms"}}, s.Descriptions())
	for i := 0; len(s.documents.described) < MaxDescribed; i++ {
		s.documents.described[metric.ID{Name: fmt.Sprint(i), Kind: metric.Gauge}] = Description{"x", ""}
	}
	require.ErrorIs(t, s.Describe(set, Description{"one more", ""}), ErrManyDescribed)
	require.NoError(t, s.Describe(count, Description{"another", ""}))
}

// TestDamagedDocuments: a store starts with what can be read.
func TestDamagedDocuments(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk)
	h, err := s.AddDashboard("good", []byte("x"), 1)
	require.NoError(t, err)
	for _, key := range [][]byte{dashboardKey(7), {prefixDashboard, 1}, {prefixDescribed}, {prefixDescribed, 9, 'm'}, {prefixDescribed, 1, 'm'}} {
		require.NoError(t, s.db.Set(key, []byte{1, 0xff}, pebble.Sync))
	}
	require.NoError(t, s.Close())
	s = open(t, disk)
	require.Equal(t, []DashboardHead{h}, s.Dashboards())
	require.Empty(t, s.Descriptions())
	require.NoError(t, s.Close())
}

func FuzzDocuments(f *testing.F) {
	d := Dashboard{DashboardHead{258, 3, 1000, "shop"}, []byte("{}")}
	f.Add(appendHead(nil, &d.DashboardHead))
	f.Add(appendVersion(nil, &d))
	f.Add(Description{"by form", "people"}.value())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHead(dashboardKey(1), b); err == nil {
			again, err := decodeHead(dashboardKey(1), appendHead(nil, &h))
			require.NoError(t, err)
			require.Equal(t, h, again)
		}
		if d, err := decodeVersion(versionKey(1, 2), b); err == nil {
			again, err := decodeVersion(versionKey(1, 2), appendVersion(nil, &d))
			require.NoError(t, err)
			require.Equal(t, d, again)
		}
		id := metric.ID{Name: "m", Kind: metric.Counter}
		if _, d, err := decodeDescription(descriptionKey(id), b); err == nil {
			_, again, err := decodeDescription(descriptionKey(id), d.value())
			require.NoError(t, err)
			require.Equal(t, d, again)
		}
	})
}
