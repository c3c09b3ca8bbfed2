package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// spool is a directory of batches that the server may not have yet:
//
//	lock                 is held by the process that uses it
//	producer             a UUID, "\n", the highest sequence that was ever removed, "\n"
//	<sequence>.batch     a header of 16 bytes, and the payload
//
// The header is "CSP1", then as little endian the CRC-32C of what comes behind it (4), the
// lines (4), and 1 for low priority (4). Files appear in whole: they are written under
// another name, synced and renamed.
type spool struct {
	dir      string
	lock     *os.File
	producer string
	removed  uint64
}

const (
	spoolMagic  = "CSP1"
	spoolHeader = 16
)

// openSpool takes over what an earlier process left.
func (q *queue) openSpool(dir string) (err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("client: the spool: %w", err)
	}
	s := &spool{dir: dir}
	if s.lock, err = lockFile(filepath.Join(dir, "lock")); err != nil {
		return fmt.Errorf("client: the spool %s is in use by another process, or cannot be locked: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	if err = s.readProducer(); err != nil {
		return err
	}
	sequences, err := s.list()
	if err != nil {
		return err
	}
	q.spool, q.producer, q.last = s, s.producer, s.removed
	for _, n := range sequences {
		b, err := s.read(n)
		if err != nil {
			q.report(fmt.Errorf("client: a batch of the spool is left out: %w", err))
			q.last = max(q.last, n)
			continue
		}
		b.payload, b.tried = nil, len(q.items) == 0 // the first may be at the server
		q.items = append(q.items, b)
		q.last = max(q.last, n)
		q.addDisk(int64(b.size))
		q.stats.queued.Add(int64(b.lines))
	}
	return nil
}

func (s *spool) readProducer() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "producer"))
	if errors.Is(err, fs.ErrNotExist) {
		s.producer = newProducer()
		return s.writeProducer()
	}
	if err != nil {
		return fmt.Errorf("client: the spool: %w", err)
	}
	f := strings.Split(string(text), "\n")
	if len(f) != 3 || len(f[0]) != 36 || f[2] != "" {
		return fmt.Errorf("client: the spool's file %s is damaged; move the directory away", filepath.Join(s.dir, "producer"))
	}
	if s.removed, err = strconv.ParseUint(f[1], 10, 64); err != nil {
		return fmt.Errorf("client: the spool's file producer has no sequence: %w", err)
	}
	s.producer = f[0]
	return nil
}

func (s *spool) writeProducer() error {
	return s.replace("producer", []byte(s.producer+"\n"+strconv.FormatUint(s.removed, 10)+"\n"))
}

// list returns the sequences of the batches that are there, and removes what a removal or
// a write that broke off has left.
func (s *spool) list() ([]uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("client: the spool: %w", err)
	}
	var out []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".batch")
		n, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil {
			out = append(out, n)
		} else if strings.HasSuffix(e.Name(), ".new") {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil {
				return nil, fmt.Errorf("client: the spool: %w", err)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func name(sequence uint64) string { return fmt.Sprintf("%020d.batch", sequence) }

func (s *spool) write(b *batch) error {
	text := make([]byte, spoolHeader, spoolHeader+len(b.payload))
	copy(text, spoolMagic)
	binary.LittleEndian.PutUint32(text[8:], uint32(b.lines))
	binary.LittleEndian.PutUint32(text[12:], uint32(priority(b.low)))
	text = append(text, b.payload...)
	binary.LittleEndian.PutUint32(text[4:], checksum(text))
	return s.replace(name(b.sequence), text)
}

func checksum(file []byte) uint32 {
	return crc32.Checksum(file[8:], crc32.MakeTable(crc32.Castagnoli))
}

func (s *spool) read(sequence uint64) (*batch, error) {
	path := filepath.Join(s.dir, name(sequence))
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	if len(text) < spoolHeader || string(text[:4]) != spoolMagic || binary.LittleEndian.Uint32(text[4:]) != checksum(text) {
		return nil, fmt.Errorf("the spool's file %s is damaged", path)
	}
	b := &batch{
		sequence: sequence, payload: text[spoolHeader:], size: len(text) - spoolHeader,
		lines: int(binary.LittleEndian.Uint32(text[8:])), low: text[12] == 1, stored: true,
	}
	return b, nil
}

// remove removes a batch. Its sequence is noted before, or the next process could use it
// again.
func (s *spool) remove(sequence uint64) error {
	if sequence > s.removed {
		s.removed = sequence
		if err := s.writeProducer(); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(s.dir, name(sequence))); err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	return nil
}

// replace writes a file in whole.
func (s *spool) replace(name string, text []byte) error {
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	return nil
}

func (s *spool) close() error { return s.lock.Close() }
