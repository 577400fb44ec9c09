package hosts

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/net/http/httpguts"
)

// Host is one place to fetch a registry's content from.
type Host struct {
	// URL is the root of the host's API, with its /v2. Nil stands for the registry
	// itself, wherever its name leads.
	URL *url.URL
	// Server tells the registry's own server from its mirrors.
	Server bool
	// Pull and Resolve are what the host is asked for: content by digest, and what
	// a tag means.
	Pull, Resolve bool
	// CAs are files of certificate authorities to trust besides the system's.
	CAs []string
	// Clients are pairs of files, certificate and key; an empty key is in the
	// certificate's file.
	Clients [][2]string
	// SkipVerify accepts any certificate; nil when the file does not say.
	SkipVerify *bool
	// Header goes with every request to this host, and to no other.
	Header http.Header
	// DialTimeout bounds the connect; 0 when the file does not say.
	DialTimeout time.Duration
	// Proxy is used instead of the environment's; nil when the file does not say.
	Proxy *url.URL
}

// table is one table of the file; the first thing wrong with it sticks.
type table struct {
	path   string // for messages; empty is the root
	base   string // directory of relative paths
	values map[string]any
	err    error
}

// Parse reads a hosts.toml; dir is where its relative paths begin. The hosts
// come in the order in which they are asked: the [host] tables as the file has
// them, the server last. The error names the key.
func Parse(data []byte, dir string) ([]Host, error) {
	values := map[string]any{}
	meta, err := toml.Decode(string(data), &values)
	if broken := (toml.ParseError{}); errors.As(err, &broken) {
		return nil, fmt.Errorf("line %d: %s", broken.Position.Line, broken.Message)
	}
	if err != nil {
		return nil, err
	}
	root := &table{base: dir, values: values}
	mirrors, _ := root.take("host", map[string]any{}).(map[string]any)
	server := root.text("server")
	last := root.host(server)
	last.Server = true
	var hosts []Host
	for _, name := range order(&meta) {
		t := &table{path: fmt.Sprintf("host.%q", name), base: dir}
		if t.values, _ = mirrors[name].(map[string]any); t.values == nil {
			t.fail("", "is not a table")
		}
		h := t.host(name)
		if t.err == nil && h.URL == nil {
			t.fail("", "has no host")
		}
		if err := t.finish(); err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return append(hosts, last), root.finish()
}

// order lists the [host] tables as the file has them.
func order(meta *toml.MetaData) (names []string) {
	for _, key := range meta.Keys() {
		if len(key) >= 2 && key[0] == "host" && !slices.Contains(names, key[1]) {
			names = append(names, key[1])
		}
	}
	return names
}

// host takes the keys that the server and its mirrors have in common.
func (t *table) host(address string) Host {
	h := Host{Pull: true, Resolve: true}
	if names, given := t.list("capabilities"); given && len(names) > 0 {
		h.Pull, h.Resolve = false, false
		for _, name := range names {
			switch strings.ToLower(name) {
			case "pull":
				h.Pull = true
			case "resolve":
				h.Resolve = true
			case "push": // nothing here pushes
			default:
				t.fail("capabilities", fmt.Sprintf("%q is none of pull, resolve, push", name))
			}
		}
	}
	h.CAs, _ = t.list("ca")
	for i, file := range h.CAs {
		h.CAs[i] = t.absolute(file)
	}
	h.Clients = t.clients()
	if skip, ok := t.take("skip_verify", false).(bool); ok {
		h.SkipVerify = &skip
	}
	h.Header = t.header()
	if s := t.text("dial_timeout"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			t.fail("dial_timeout", fmt.Sprintf("%q is not a duration such as \"5s\"", s))
		}
		h.DialTimeout = d
	}
	h.Proxy = t.proxy()
	override, _ := t.take("override_path", false).(bool)
	h.URL = t.address(address, override)
	return h
}

// address reads where a host is: https unless it says otherwise, and /v2 below it
// unless it says that the path is the API's own root.
func (t *table) address(s string, override bool) *url.URL {
	if s == "" {
		return nil
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	key := "server"
	if t.path != "" {
		key = ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		t.fail(key, fmt.Sprintf("%q is not http://host or https://host", s))
		return nil
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		t.fail(key, "only scheme, host, port and path are allowed")
		return nil
	}
	if u.Path != "" {
		u.Path = strings.TrimSuffix(path.Clean(u.Path), "/")
	}
	if !override && !strings.HasSuffix(u.Path, "/v2") {
		u.Path += "/v2"
	}
	u.RawPath = ""
	return u
}

// clients reads the three forms of client: a file, files, pairs of files.
func (t *table) clients() (pairs [][2]string) {
	list, ok := t.take("client", nil).([]any)
	if !ok {
		if file, ok := t.took("client").(string); ok {
			return [][2]string{{t.absolute(file), ""}}
		}
		if t.took("client") != nil {
			t.fail("client", "is neither a file, nor files, nor pairs of files")
		}
		return nil
	}
	for _, e := range list {
		pair, ok := stringsOf(e)
		if !ok || len(pair) == 0 || len(pair) > 2 {
			t.fail("client", "is neither a file, nor files, nor pairs of files")
			return nil
		}
		files := [2]string{t.absolute(pair[0])}
		if len(pair) == 2 && pair[1] != "" {
			files[1] = t.absolute(pair[1])
		}
		pairs = append(pairs, files)
	}
	return pairs
}

// header reads the extra headers. Their values may be secrets, so no message has one.
func (t *table) header() http.Header {
	given, _ := t.take("header", map[string]any{}).(map[string]any)
	if len(given) == 0 {
		return nil
	}
	h := http.Header{}
	for key, value := range given {
		values, ok := stringsOf(value)
		switch {
		case !httpguts.ValidHeaderFieldName(key):
			t.fail("header", fmt.Sprintf("%q is not the name of a header", key))
		case !ok, !allValid(values):
			t.fail("header."+key, "is not text, or a list of texts, that a header can hold")
		default:
			h[http.CanonicalHeaderKey(key)] = values
		}
	}
	return h
}

func allValid(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) })
}

func (t *table) proxy() *url.URL {
	s := t.text("proxy")
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		t.fail("proxy", "is not http://host, https://host, socks5://host or socks5h://host")
		return nil
	}
	return u
}

func (t *table) absolute(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(t.base, file)
}
