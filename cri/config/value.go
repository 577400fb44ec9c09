package config

import (
	"encoding/json"
	"fmt"
	"time"
)

// Switch is "auto", "true" or "false". In YAML the last two may be booleans.
type Switch string

// The values of a Switch.
const (
	Auto Switch = "auto"
	On   Switch = "true"
	Off  Switch = "false"
)

// Resolve is what the switch comes to, given what "auto" means here.
func (s Switch) Resolve(auto bool) bool {
	switch s {
	case On:
		return true
	case Off:
		return false
	default:
		return auto
	}
}

// UnmarshalJSON accepts a string or a boolean.
func (s *Switch) UnmarshalJSON(data []byte) error {
	var b bool
	if json.Unmarshal(data, &b) == nil {
		*s = Off
		if b {
			*s = On
		}
		return nil
	}
	var str string
	if err := json.Unmarshal(data, &str); err != nil {
		return fmt.Errorf("%s is neither auto, true nor false", data)
	}
	*s = Switch(str)
	return nil
}

// MarshalJSON writes true and false as booleans.
func (s Switch) MarshalJSON() ([]byte, error) {
	if s == On || s == Off {
		return []byte(s), nil
	}
	return json.Marshal(string(s))
}

// Duration is a time.Duration that is written as "1m30s".
type Duration time.Duration

// Std returns the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// UnmarshalJSON accepts what time.ParseDuration accepts.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%s is not a duration such as \"10s\"", data)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as \"10s\"", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes the duration as UnmarshalJSON reads it.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}
