package harness

import (
	"os"
	"regexp"
	"strings"
	"time"
)

// Log is a container's log file, as the kubelet reads it.
type Log []LogLine

// LogLine is one line of the CRI log format:
// "2006-01-02T15:04:05.000000000Z07:00 stdout F text".
type LogLine struct {
	Time   time.Time
	Stream string
	Full   bool // F; else P: the line goes on in the next
	Text   string
}

var logLine = regexp.MustCompile(`^(\S+) (stdout|stderr) ([FP]) (.*)\n$`)

// Log reads the container's log. A line that is not in the format fails the test.
func (c *Container) Log() Log {
	c.h.T.Helper()
	return c.h.ReadLog(c.LogFile)
}

// ReadLog reads a log file, for example a rotated one.
func (h *Test) ReadLog(name string) Log {
	h.T.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		h.T.Fatal(err)
	}
	var log Log
	for line := range strings.Lines(string(body)) {
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		m := logLine.FindStringSubmatch(line)
		if m == nil {
			h.T.Fatalf("not a line of the CRI log format: %q", line)
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			h.T.Fatalf("time of log line %q: %v", line, err)
		}
		log = append(log, LogLine{at, m[2], m[3] == "F", m[4]})
	}
	return log
}

func (l Log) text(stream string) string {
	var b strings.Builder
	for _, line := range l {
		if stream != "" && line.Stream != stream {
			continue
		}
		b.WriteString(line.Text)
		if line.Full {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Stdout is what was written to stdout, put together again.
func (l Log) Stdout() string { return l.text("stdout") }

// Stderr is what was written to stderr.
func (l Log) Stderr() string { return l.text("stderr") }

// All is both streams in order.
func (l Log) All() string { return l.text("") }
