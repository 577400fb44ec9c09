package figure

import "encoding/json"

// Target is the figure that a row's first column has to reach.
type Target struct {
	Value  float64
	AtMost bool // smaller is better
}

// AtMost is a target that holds for v and below.
func AtMost(v float64) *Target { return &Target{Value: v, AtMost: true} }

// AtLeast is a target that holds for v and above.
func AtLeast(v float64) *Target { return &Target{Value: v} }

// Reached says whether v is good enough.
func (t *Target) Reached(v float64) bool {
	if t.AtMost {
		return v <= t.Value
	}
	return v >= t.Value
}

// Row is one measured thing, through every runtime that was asked.
type Row struct {
	Name   string
	Unit   string
	Stats  []Stat // by column; N is 0 where it was not measured
	Target *Target
}

// Section is a table: a title, the columns' names and rows. The first column
// is the one that targets are for and that the others are compared with.
type Section struct {
	Title   string
	Columns []string
	Rows    []Row
}

// Add appends a row that has a Stat for each column.
func (s *Section) Add(name, unit string, target *Target, stats ...Stat) {
	s.Rows = append(s.Rows, Row{Name: name, Unit: unit, Stats: stats, Target: target})
}

type rowJSON struct {
	Section string          `json:"section"`
	Name    string          `json:"name"`
	Unit    string          `json:"unit"`
	Stats   map[string]Stat `json:"stats"`
	Target  *float64        `json:"target,omitempty"`
	Reached *bool           `json:"reached,omitempty"`
}

// JSON is all sections' rows as one JSON array.
func JSON(sections []Section) ([]byte, error) {
	rows := []rowJSON{}
	for _, section := range sections {
		for _, row := range section.Rows {
			out := rowJSON{Section: section.Title, Name: row.Name, Unit: row.Unit, Stats: map[string]Stat{}}
			for i, stat := range row.Stats {
				if stat.N > 0 {
					out.Stats[section.Columns[i]] = stat
				}
			}
			if row.Target != nil && row.measured() {
				reached := row.Target.Reached(row.Stats[0].Median)
				out.Target, out.Reached = &row.Target.Value, &reached
			}
			rows = append(rows, out)
		}
	}
	return json.MarshalIndent(rows, "", " ")
}

func (r Row) measured() bool { return len(r.Stats) > 0 && r.Stats[0].N > 0 }
