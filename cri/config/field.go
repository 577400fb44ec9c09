package config

import (
	"fmt"
	"reflect"
	"strings"
)

// checkFields compares a document with the type it is for and reports the
// first field, in name order, that the type does not have.
func checkFields(path string, doc any, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := doc.(type) {
	case map[string]any:
		return checkMapping(path, v, t)
	case []any:
		if t.Kind() != reflect.Slice {
			return nil // a wrong type: the decoder says so better
		}
		for i, e := range v {
			if err := checkFields(fmt.Sprintf("%s[%d]", path, i), e, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMapping(path string, doc map[string]any, t reflect.Type) error {
	for _, name := range sortedKeys(doc) {
		var elem reflect.Type
		switch t.Kind() {
		case reflect.Struct:
			field, ok := fieldNamed(t, name)
			if !ok {
				return unknownField(join(path, name), name, t)
			}
			elem = field
		case reflect.Map:
			elem = t.Elem()
		default:
			return nil
		}
		if err := checkFields(join(path, name), doc[name], elem); err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fieldNamed is stricter than encoding/json, which ignores case.
func fieldNamed(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if jsonName(t.Field(i)) == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// unknownField is the error for a field that t lacks; it names the nearest
// one that t has.
func unknownField(path, name string, t reflect.Type) error {
	best, distance := "", 1<<30
	for i := range t.NumField() {
		have := jsonName(t.Field(i))
		if d := editDistance(strings.ToLower(name), strings.ToLower(have)); d < distance {
			best, distance = have, d
		}
	}
	if distance > max(2, len(name)/2) {
		return fmt.Errorf("%s: no such field", path)
	}
	return fmt.Errorf("%s: no such field; did you mean %s?", path, best)
}

// editDistance is the number of insertions, deletions and replacements that
// turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
