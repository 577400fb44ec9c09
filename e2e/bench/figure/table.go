package figure

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Print writes the section as a text table: for the first column the median,
// the 90th percentile, the target and whether it is reached, for each other
// column the median and its ratio to the first.
func (s Section) Print(w io.Writer) {
	if len(s.Rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  \t%s\tp90\t\ttarget\t", s.Columns[0])
	for _, name := range s.Columns[1:] {
		fmt.Fprintf(t, "\t%s\tratio", name)
	}
	fmt.Fprintln(t)
	for _, row := range s.Rows {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s", row.Name, row.median(0), row.p90(), row.Unit, row.verdict())
		for i := range s.Columns[1:] {
			fmt.Fprintf(t, "\t%s\t%s", row.median(i+1), row.ratio(i+1))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

func (r Row) median(column int) string {
	if column >= len(r.Stats) || r.Stats[column].N == 0 {
		return "-"
	}
	return number(r.Stats[column].Median)
}

// p90 is empty where there is but one value.
func (r Row) p90() string {
	if !r.measured() || r.Stats[0].N == 1 {
		return ""
	}
	return number(r.Stats[0].P90)
}

func (r Row) verdict() string {
	if r.Target == nil || !r.measured() {
		return "\t"
	}
	sign, answer := ">=", "no"
	if r.Target.AtMost {
		sign = "<="
	}
	if r.Target.Reached(r.Stats[0].Median) {
		answer = "yes"
	}
	return fmt.Sprintf("%s %s\t%s", sign, number(r.Target.Value), answer)
}

func (r Row) ratio(column int) string {
	if column >= len(r.Stats) || r.Stats[column].N == 0 || !r.measured() || r.Stats[0].Median == 0 {
		return ""
	}
	return strconv.FormatFloat(r.Stats[column].Median/r.Stats[0].Median, 'f', 1, 64) + "x"
}

// number has three significant digits where that needs decimals.
func number(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
