package request

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/varve-cri/varve/cri/fault"
)

// The bounds of every request; see the package's comment.
const (
	MaxRequest = 8 << 20
	MaxMap     = 2 << 20 // labels or annotations, keys and values together
	MaxText    = 1 << 20
	MaxItems   = 1 << 17 // of a list or a map
)

func invalid(field, format string, args ...any) error {
	return &fault.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// walk checks what holds for every field of every message. The field's path is
// only put together for an error, on the way back.
func walk(m protoreflect.Message) error {
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			err = walkMap(f, v.Map())
		case f.IsList():
			err = walkList(f, v.List())
		default:
			err = within(f, "", walkValue(f, v, MaxText, true))
		}
		return err == nil
	})
	return err
}

func walkList(f protoreflect.FieldDescriptor, list protoreflect.List) error {
	if list.Len() > MaxItems {
		return invalid(string(f.Name()), "%d items, no more than %d", list.Len(), MaxItems)
	}
	for i := range list.Len() {
		if err := walkValue(f, list.Get(i), MaxText, true); err != nil {
			return within(f, "["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

// walkMap: labels and annotations are free text, and bounded together.
func walkMap(f protoreflect.FieldDescriptor, m protoreflect.Map) error {
	if m.Len() > MaxItems {
		return invalid(string(f.Name()), "%d entries, no more than %d", m.Len(), MaxItems)
	}
	free := f.Name() == "annotations"
	bytes := 0
	var err error
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		bytes += len(k.String()) + len(v.String())
		if strings.Contains(k.String(), "\x00") {
			err = invalid("", "key %.60q holds a NUL byte", k.String())
		} else {
			err = walkValue(f.MapValue(), v, MaxMap, !free)
		}
		if err != nil {
			err = within(f, "["+short(k.String())+"]", err)
		}
		return err == nil
	})
	if err == nil && bytes > MaxMap {
		return invalid(string(f.Name()), "are %d bytes together, no more than %d", bytes, MaxMap)
	}
	return err
}

func walkValue(f protoreflect.FieldDescriptor, v protoreflect.Value, limit int, strict bool) error {
	switch f.Kind() {
	case protoreflect.EnumKind:
		if f.Enum().Values().ByNumber(v.Enum()) == nil {
			return invalid("", "%d is not known", v.Enum())
		}
	case protoreflect.StringKind:
		if strict && strings.Contains(v.String(), "\x00") {
			return invalid("", "holds a NUL byte")
		}
		return sized(len(v.String()), limit)
	case protoreflect.BytesKind:
		return sized(len(v.Bytes()), limit)
	case protoreflect.MessageKind:
		return walk(v.Message())
	}
	return nil
}

func sized(n, limit int) error {
	if n > limit {
		return invalid("", "is %d bytes long, no more than %d", n, limit)
	}
	return nil
}

// within puts a field before the path of an error from inside of it.
func within(f protoreflect.FieldDescriptor, index string, err error) error {
	if err == nil {
		return nil
	}
	return under(string(f.Name())+index, err)
}

// under puts a path before that of an error. Paths are put together when there is
// an error, and not before: every request passes here.
func under(path string, err error) error {
	bad, ok := err.(*fault.InvalidError) //nolint:errorlint // made here, never wrapped
	if !ok {
		return err
	}
	if bad.Field != "" {
		path += "." + bad.Field
	}
	return &fault.InvalidError{Field: path, Problem: bad.Problem}
}

// short is a key as a message can show it.
func short(key string) string {
	if len(key) > 60 {
		key = key[:60] + "..."
	}
	if q := strconv.Quote(key); q != `"`+key+`"` {
		return q
	}
	return key
}

// whole bounds the request as such, and names the part that is the largest.
func whole(m proto.Message) error {
	size := proto.Size(m)
	if size <= MaxRequest {
		return nil
	}
	path, at := "", m
	for {
		name, next, n := largest(at)
		path = strings.TrimPrefix(path+"."+name, ".")
		if next == nil {
			return invalid(path, "is %d bytes of a request of %d; no more than %d", n, size, MaxRequest)
		}
		at = next
	}
}

// largest returns the field that takes the most, and its message where it is one.
func largest(m proto.Message) (name string, next proto.Message, bytes int) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		one := m.ProtoReflect().New()
		one.Set(f, v)
		n := proto.Size(one.Interface())
		if n <= bytes {
			return true
		}
		name, next, bytes = string(f.Name()), nil, n
		if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() {
			next = v.Message().Interface()
		}
		return true
	})
	return name, next, bytes
}
