package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxFile bounds one file of the configuration.
const maxFile = 1 << 20

// Load reads the file at path and merges over it, in name order, every *.yaml
// of the directory dropins: maps are merged field by field, anything else,
// lists too, is replaced; null takes a field back to its default. Either path
// may be empty; a drop-in directory that is not there is empty, a file that is
// not there is an error. The result is complete and valid.
func Load(path, dropins string) (*Config, error) {
	var files []string
	if path != "" {
		files = append(files, path)
	}
	if dropins != "" {
		entries, err := os.ReadDir(dropins)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("configuration drop-ins: %w", err)
		}
		for _, e := range entries { // ReadDir sorts by name
			if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, filepath.Join(dropins, e.Name()))
			}
		}
	}
	merged := map[string]any{}
	for _, f := range files {
		doc, err := readDocument(f)
		if err != nil {
			return nil, fmt.Errorf("configuration %s: %w", f, err)
		}
		merge(merged, doc)
	}
	c, err := decode(merged)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// Parse reads one document from memory, as Load reads a file.
func Parse(data []byte) (*Config, error) {
	doc, err := parseDocument(data)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := decode(doc)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

// Marshal returns the configuration as YAML that Parse reads back the same.
func (c *Config) Marshal() ([]byte, error) { return yaml.Marshal(c) }

func readDocument(path string) (map[string]any, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseDocument(data)
}

// parseDocument checks one document on its own, so that an error can name the
// file that it is in.
func parseDocument(data []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(data) // refuses duplicate keys
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", trimYAML(err))
	}
	doc := map[string]any{}
	if string(raw) == "null" {
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number must not pass through a float
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New("not a mapping of fields to values")
	}
	for _, f := range []struct{ name, want string }{{"apiVersion", APIVersion}, {"kind", Kind}} {
		if got, ok := doc[f.name]; ok && got != f.want {
			return nil, fmt.Errorf("%s: %v is not known, %s is", f.name, got, f.want)
		}
	}
	if err := checkFields("", doc, reflect.TypeFor[Config]()); err != nil {
		return nil, err
	}
	// The values are checked per file too; what depends on several fields is
	// checked at the end, on the whole.
	if _, err := unmarshal(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

func decode(doc map[string]any) (*Config, error) {
	c, err := unmarshal(doc)
	if err != nil {
		return nil, err
	}
	c.Complete()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func unmarshal(doc map[string]any) (*Config, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	err = json.Unmarshal(raw, c)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s: a %s where a %s belongs", wrong.Field, wrong.Value, wrong.Type)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// merge puts src over dst.
func merge(dst, src map[string]any) {
	for k, v := range src {
		switch v := v.(type) {
		case nil:
			delete(dst, k)
		case map[string]any:
			into, ok := dst[k].(map[string]any)
			if !ok {
				into = map[string]any{}
				dst[k] = into
			}
			merge(into, v)
		default:
			dst[k] = v
		}
	}
}

// trimYAML takes the library's own prefixes off an error.
func trimYAML(err error) error {
	s := err.Error()
	for _, p := range []string{"error converting YAML to JSON: ", "yaml: "} {
		s = strings.TrimPrefix(s, p)
	}
	return errors.New(s)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
