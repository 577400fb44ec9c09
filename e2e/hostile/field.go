package hostile

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field is a place in a request: a value, or an item of a list, or a whole
// message.
type Field struct {
	Path string // with [0] for a list's item and [key] for a map's
	Kind protoreflect.Kind
}

// Fields returns every field of a message and of the messages in it. The CRI
// has no message within itself.
func Fields(d protoreflect.MessageDescriptor) []Field { return fields(d, "") }

func fields(d protoreflect.MessageDescriptor, at string) []Field {
	var out []Field
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		path := at + string(f.Name())
		value := f
		switch {
		case f.IsMap():
			path, value = path+"["+MapKey+"]", f.MapValue()
		case f.IsList():
			path += "[0]"
		}
		out = append(out, Field{path, value.Kind()})
		if value.Kind() == protoreflect.MessageKind {
			out = append(out, fields(value.Message(), path+".")...)
		}
	}
	return out
}

// MapKey is the key of the maps in the paths of Fields.
const MapKey = "key"

// Set sets the field at a path and makes what is above it; a list grows to the
// item that is named. A nil value of a message makes an empty one there, Absent
// takes a field away.
func Set(m proto.Message, path string, value any) error {
	at := m.ProtoReflect()
	steps := strings.Split(path, ".")
	for n := 0; n < len(steps); n++ {
		name, index, indexed := strings.Cut(strings.TrimSuffix(steps[n], "]"), "[")
		for indexed && !strings.HasSuffix(steps[n], "]") && n+1 < len(steps) { // a key with dots
			n++
			index += "." + strings.TrimSuffix(steps[n], "]")
		}
		f := at.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return fmt.Errorf("%s has no field %s (of %s)", at.Descriptor().FullName(), name, path)
		}
		last := n == len(steps)-1
		if last && value == Absent {
			at.Clear(f)
			return nil
		}
		next, err := step(at, f, index, last, value)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		at = next
	}
	return nil
}

// Absent is the value of a field that is taken away.
var Absent = new(struct{})

// step goes into one field, and sets it when it is the last one.
func step(at protoreflect.Message, f protoreflect.FieldDescriptor, index string, last bool, value any) (protoreflect.Message, error) {
	switch {
	case f.IsMap():
		entries, key := at.Mutable(f).Map(), protoreflect.ValueOfString(index).MapKey()
		if f.MapValue().Kind() == protoreflect.MessageKind {
			return entries.Mutable(key).Message(), nil
		}
		v, err := convert(f.MapValue().Kind(), value)
		if err == nil {
			entries.Set(key, v)
		}
		return nil, err
	case f.IsList():
		i, err := strconv.Atoi(index)
		if err != nil {
			return nil, fmt.Errorf("%s: index: %w", f.Name(), err)
		}
		list := at.Mutable(f).List()
		for list.Len() <= i {
			list.Append(list.NewElement())
		}
		if f.Kind() == protoreflect.MessageKind {
			return list.Get(i).Message(), nil
		}
		v, err := convert(f.Kind(), value)
		if err == nil {
			list.Set(i, v)
		}
		return nil, err
	case f.Kind() == protoreflect.MessageKind:
		return at.Mutable(f).Message(), nil
	case !last:
		return nil, fmt.Errorf("%s is not a message", f.Name())
	}
	v, err := convert(f.Kind(), value)
	if err == nil {
		at.Set(f, v)
	}
	return nil, err
}

// convert makes a field's value of a Go value.
func convert(k protoreflect.Kind, value any) (protoreflect.Value, error) {
	var none protoreflect.Value
	switch v := value.(type) {
	case bool:
		return protoreflect.ValueOfBool(v), match(k, protoreflect.BoolKind)
	case string:
		if k == protoreflect.BytesKind {
			return protoreflect.ValueOfBytes([]byte(v)), nil
		}
		return protoreflect.ValueOfString(v), match(k, protoreflect.StringKind)
	case uint64:
		if k == protoreflect.Uint32Kind {
			return protoreflect.ValueOfUint32(uint32(v)), nil
		}
		return protoreflect.ValueOfUint64(v), match(k, protoreflect.Uint64Kind)
	case int:
		switch k {
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v)), nil
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(v)), nil
		case protoreflect.Uint32Kind:
			return protoreflect.ValueOfUint32(uint32(v)), nil
		case protoreflect.Uint64Kind:
			return protoreflect.ValueOfUint64(uint64(v)), nil
		}
		return protoreflect.ValueOfInt64(int64(v)), match(k, protoreflect.Int64Kind)
	}
	return none, fmt.Errorf("no %v is made of %T", k, value)
}

func match(have, want protoreflect.Kind) error {
	if have != want {
		return fmt.Errorf("is %v, not %v", have, want)
	}
	return nil
}

// Long is a string that no field has room for, and that fits into a request.
var Long = strings.Repeat("x", 3<<20)

// Values returns what to put into a field of a kind: what is out of every range,
// climbs, breaks lines, ends strings early, or is long.
func Values(k protoreflect.Kind) []any {
	switch k {
	case protoreflect.StringKind:
		return []any{"", "a\nb", "a\x00b", "../../etc", "/../../etc", "a/../../b", "\x1b[31m", "$(id);x=1 %n{{.}}", "/" + Long}
	case protoreflect.BytesKind:
		return []any{"", "\x00", "\xff\xfe", Long}
	case protoreflect.EnumKind:
		return []any{-1, 9999}
	case protoreflect.Int32Kind:
		return []any{math.MinInt32, -2, math.MaxInt32}
	case protoreflect.Int64Kind:
		return []any{math.MinInt64, -2, math.MaxInt64}
	case protoreflect.Uint32Kind:
		return []any{uint64(math.MaxUint32)}
	case protoreflect.Uint64Kind:
		return []any{uint64(math.MaxUint64)}
	case protoreflect.BoolKind:
		return []any{true}
	case protoreflect.MessageKind:
		return []any{nil, Absent}
	}
	return nil
}
