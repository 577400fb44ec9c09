package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// free are the members whose own members are names that people choose. They may
// differ in nothing but their case; elsewhere no two may, because encoding/json
// takes either for the field, and the last one wins, while other readers of the
// same bytes take the first, or only the one that is spelled right.
var free = []string{"annotations", "Labels", "labels", "Volumes", "ExposedPorts"}

// The members by which images are told apart, as they are spelled.
var (
	manifestMembers = spelled("schemaVersion", "mediaType", "artifactType", "manifests", "layers", "config", "fsLayers", "digest", "size", "platform", "architecture", "os", "variant", "subject")
	configMembers   = spelled("rootfs", "type", "diff_ids", "config", "architecture", "os", "variant", "history")
)

// spelled maps what encoding/json takes for a name to the name.
func spelled(names ...string) map[string]string {
	all := map[string]string{}
	for _, n := range names {
		all[strings.Map(smallest, n)] = n
	}
	return all
}

// unambiguous refuses a document in which an object has a member twice, or one of
// the members above in another spelling: its digest would not say what it means
// (CVE-2021-41190 is of this class).
func unambiguous(body []byte, members map[string]string) error {
	w := &walker{json.NewDecoder(bytes.NewReader(body)), members}
	w.d.UseNumber()
	if err := w.value(""); err != nil {
		return err
	}
	if w.d.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

// walker goes through a document once. encoding/json bounds the depth only of
// what it decodes, not of tokens, so the walker bounds it itself.
type walker struct {
	d       *json.Decoder
	spelled map[string]string
}

// maxNesting is far beyond what any document of an image has.
const maxNesting = 64

func (w *walker) value(member string) error { return w.nested(member, 0) }

func (w *walker) nested(member string, depth int) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxNesting {
		return fmt.Errorf("values nested more than %d deep", maxNesting)
	}
	if open == '{' {
		err = w.members(member, depth)
	}
	for err == nil && open == '[' && w.d.More() {
		err = w.nested(member, depth+1)
	}
	if err == nil {
		_, err = w.d.Token() // the closing delimiter
	}
	return err
}

func (w *walker) members(of string, depth int) error {
	fold := !slices.Contains(free, of)
	seen := map[string]string{}
	for w.d.More() {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		key := name
		if fold {
			key = strings.Map(smallest, name)
			if right := w.spelled[key]; right != "" && right != name {
				return fmt.Errorf("ambiguous: the member %q is spelled %.100q", right, name)
			}
		}
		if before, twice := seen[key]; twice {
			return fmt.Errorf("ambiguous: it has the members %.100q and %.100q", before, name)
		}
		seen[key] = name
		if err := w.nested(name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// smallest is the first of the letters that encoding/json takes for one: not
// only "s" and "S", but the long "ſ" as well.
func smallest(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next // the orbit begins again
		}
		r = next
	}
}
