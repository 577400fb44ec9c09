package hosts

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// known are the keys of every table; the root has two more.
var known = []string{"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "proxy"}

// take gives a key's value, which must be of like's type unless that is nil; nil
// when the key is not there.
func (t *table) take(key string, like any) any {
	value, ok := t.values[key]
	if !ok {
		return nil
	}
	if like != nil && reflect.TypeOf(value) != reflect.TypeOf(like) {
		t.fail(key, "is not "+map[reflect.Kind]string{reflect.Map: "a table", reflect.Bool: "true or false", reflect.String: "text"}[reflect.TypeOf(like).Kind()])
		return nil
	}
	return value
}

// took is take for a value of any type.
func (t *table) took(key string) any { return t.values[key] }

func (t *table) text(key string) string {
	s, _ := t.take(key, "").(string)
	return s
}

// list gives a value that is one text or several.
func (t *table) list(key string) (list []string, given bool) {
	value := t.took(key)
	if value == nil {
		return nil, false
	}
	list, ok := stringsOf(value)
	if !ok {
		t.fail(key, "is neither text nor a list of texts")
	}
	return list, true
}

// stringsOf makes a list of one text or several.
func stringsOf(value any) ([]string, bool) {
	switch v := value.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// fail keeps the first thing that is wrong with the table.
func (t *table) fail(key, problem string) {
	if t.err == nil {
		t.err = fmt.Errorf("%s: %s", t.name(key), problem)
	}
}

func (t *table) name(key string) string {
	switch {
	case t.path == "":
		return key
	case key == "":
		return t.path
	}
	return t.path + "." + key
}

// finish tells what was wrong, a key that nothing knows before all else: it may
// be the misspelt one.
func (t *table) finish() error {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if slices.Contains(known, key) || t.path == "" && (key == "server" || key == "host") {
			continue
		}
		return fmt.Errorf("%s: no such key", t.name(key))
	}
	return t.err
}
