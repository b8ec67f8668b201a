package residency

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// File scans a file. Of one that vanished meanwhile there is nothing to scan.
func (s *Scanner) File(path string) error {
	return s.file(path, strings.Contains(path, "/base/") || strings.Contains(path, "/global/"))
}

func (s *Scanner) file(path string, postgres bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.stream(&source{name: path, tries: blockTries, postgres: postgres}, f, piece, behind)
}

// Dir scans the files of a directory and of those in it, PostgreSQL's as such: what it
// compressed, and its write-ahead log as one text. What is no regular file is left out.
func (s *Scanner) Dir(dir string) error {
	var files, log []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a running system removes files
			return nil
		case err != nil:
			return err
		case entry.Type().IsRegular():
			files = append(files, path)
			if filepath.Base(filepath.Dir(path)) == "pg_wal" && len(entry.Name()) == 24 {
				log = append(log, path) // in the order of their names, which is that of time
			}
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there is no file in %s", dir)
	}
	if err != nil {
		return err
	}
	s.Bytes("names in "+dir, []byte(strings.Join(files, "\n")))
	return errors.Join(s.each(files, s.File), s.writeAhead(log))
}

// each scans several things at once.
func (s *Scanner) each(names []string, scan func(string) error) error {
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	next := make(chan string)
	for range max(1, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for name := range next {
				if err := scan(name); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	wait.Wait()
	return errors.Join(errs...)
}

// writeAhead scans a write-ahead log without the headers of its pages, which stand in
// the middle of values. A file that is written anew is not in the order of its name:
// what is between two such files is not looked at twice.
func (s *Scanner) writeAhead(files []string) error {
	if len(files) == 0 {
		return nil
	}
	readers := make([]io.Reader, 0, len(files))
	for _, path := range files {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		readers = append(readers, bytes.NewReader(logRecords(b)))
	}
	name := filepath.Join(filepath.Dir(files[0]), "records")
	return s.stream(&source{name: name, tries: blockTries, postgres: true}, io.MultiReader(readers...), piece, behind)
}

// HTTP scans what a URL answers, whatever the status.
func (s *Scanner) HTTP(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return s.Stream(url, response.Body)
}

// Process scans the memory that a running process may write to (on Linux, by one who may trace it).
// What the process releases while it is read is left out.
func (s *Scanner) Process(pid int) error {
	maps, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if err != nil {
		return err
	}
	defer maps.Close()
	memory, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mem"))
	if err != nil {
		return err
	}
	defer memory.Close()
	name := "process " + strconv.Itoa(pid)
	read := int64(0)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' || mode[1] != 'w' || // what cannot be written is what a file holds
			strings.Contains(lines.Text(), "[v") || strings.Contains(lines.Text(), "/dev/") && !strings.Contains(lines.Text(), "/dev/zero") {
			continue
		}
		read += s.memory(name, memory, from, to)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if read == 0 {
		return fmt.Errorf("%s has no memory that may be read", name)
	}
	return nil
}

// memory scans a range. A page that is not there ends what can be read at once; the
// range goes on after it.
func (s *Scanner) memory(name string, f *os.File, from, to int64) (read int64) {
	buf := make([]byte, min(4<<20, to-from))
	part := int64(len(buf))
	src := &source{name: name, tries: blockTries}
	for at := from; at < to; {
		n, err := f.ReadAt(buf[:min(part, to-at)], at)
		if n > 0 {
			src.base = at
			s.scan(src, buf[:n], 0, n)
			read += int64(n)
		}
		switch {
		case err == nil && at+int64(n) < to:
			at += int64(n) - before // what lies across the border
		case err == nil:
			at = to
		case n == 0:
			at += int64(os.Getpagesize())
		default:
			at += int64(n)
		}
	}
	s.scanned(name, read)
	return read
}
