package config

import (
	"reflect"
	"slices"
	"testing"
)

func TestReload(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	running := parse("log: {verbosity: 1}\nimages: {pinned: [a]}")
	next := parse("log: {verbosity: 4}\nimages: {pinned: [a, b], spareLayers: 1}\nsocket: /x/y.sock\nruntime: {handlers: {h: {}}}")
	now, changed, restart := running.Reload(next)
	if want := []string{"images.pinned", "log.verbosity", "runtime.handlers"}; !slices.Equal(changed, want) {
		t.Errorf("changed %v, want %v", changed, want)
	}
	if want := []string{"images.spareLayers", "socket"}; !slices.Equal(restart, want) {
		t.Errorf("needs a restart for %v, want %v", restart, want)
	}
	if now.Log.Verbosity != 4 || len(now.Images.Pinned) != 2 || now.Socket != running.Socket || *now.Images.SpareLayers != 4 || running.Log.Verbosity != 1 {
		t.Errorf("in force: %+v", now)
	}
	if _, changed, restart := running.Reload(parse("log: {verbosity: 1}\nimages: {pinned: [a]}")); len(changed)+len(restart) > 0 {
		t.Errorf("nothing has changed but %v %v", changed, restart)
	}
}

// Every field that can be taken over exists, and is taken over alone.
func TestReloadableFields(t *testing.T) {
	for name, take := range reloadable {
		from, to := &Config{}, &Config{}
		fill(reflect.ValueOf(from).Elem())
		take(to, from)
		if got := changes("", reflect.ValueOf(&Config{}).Elem(), reflect.ValueOf(to).Elem()); !slices.Equal(got, []string{name}) {
			t.Errorf("%s takes over %v", name, got)
		}
	}
}

// fill gives every field a value that is not its zero one.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		panic(v.Kind().String())
	}
}
