package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/containernetworking/cni/libcni"
	"k8s.io/klog/v2"
)

// ErrNoConfig is a node that has no network for pods, or none yet.
var ErrNoConfig = errors.New("no network configuration")

// Config says where the plugins, their configuration and our duties are.
type Config struct {
	ConfDir  string   // CNI configuration files, read again on each change
	BinDirs  []string // where the plugins are
	StateDir string   // duties and cached results; on a disk that survives a reboot
	Default  []byte   // the conflist that is used when ConfDir has none; empty is none
}

// loaded is one reading of the configuration directory.
type loaded struct {
	signature string
	list      *libcni.NetworkConfigList
	source    string // file name, or "default"
	err       error
}

// loader caches what the directory said and reads again when it has changed.
type loader struct {
	dir     string
	builtin []byte
	current atomic.Pointer[loaded]
}

// list returns the network to use now.
func (l *loader) list() (*loaded, error) {
	files, sig, err := l.scan()
	if err != nil {
		return nil, err
	}
	if c := l.current.Load(); c != nil && c.signature == sig {
		return c, c.err
	}
	c := &loaded{signature: sig}
	c.list, c.source, c.err = l.read(files)
	l.current.Store(c)
	if c.err == nil {
		klog.InfoS("Network configuration loaded", "network", c.list.Name, "source", c.source)
	}
	return c, c.err
}

// scan lists the configuration files and sums up their names, sizes and times:
// an edit in place does not change the directory's own time.
func (l *loader) scan() (files []string, signature string, err error) {
	if l.dir != "" {
		files, err = libcni.ConfFiles(l.dir, []string{".conf", ".conflist", ".json"})
		if err != nil {
			return nil, "", fmt.Errorf("network configuration %s: read: %w", l.dir, err)
		}
	}
	var b strings.Builder
	b.WriteString("files")
	for _, f := range files { // ConfFiles reads the directory in the order of the names
		if st, err := os.Stat(f); err == nil {
			fmt.Fprintf(&b, "|%s %d %d", f, st.Size(), st.ModTime().UnixNano())
		}
	}
	return files, b.String(), nil
}

func (l *loader) read(files []string) (*libcni.NetworkConfigList, string, error) {
	var bad []error
	for _, f := range files {
		list, err := readFile(f)
		if err != nil {
			klog.ErrorS(err, "Network configuration file ignored", "file", f)
			bad = append(bad, fmt.Errorf("%s: %w", f, err))
			continue
		}
		return list, f, nil
	}
	if len(bad) > 0 {
		return nil, "", fmt.Errorf("no valid network configuration: %w", errors.Join(bad...))
	}
	if len(l.builtin) == 0 {
		return nil, "", fmt.Errorf("%w in %s", ErrNoConfig, l.dir)
	}
	list, err := libcni.NetworkConfFromBytes(l.builtin)
	if err != nil {
		return nil, "", fmt.Errorf("default network configuration: %w", err)
	}
	return list, "default", nil
}

func readFile(path string) (*libcni.NetworkConfigList, error) {
	if strings.HasSuffix(path, ".conflist") {
		list, err := libcni.NetworkConfFromFile(path)
		if err == nil && len(list.Plugins) == 0 {
			err = errors.New("no plugins in it")
		}
		return list, err
	}
	conf, err := libcni.ConfFromFile(path) //nolint:staticcheck // nodes have such files
	if err != nil {
		return nil, err
	}
	if conf.Network.Type == "" {
		return nil, errors.New("no plugin type in it")
	}
	return libcni.ConfListFromConf(conf) //nolint:staticcheck // as above
}

// Ready says whether a pod could be attached now: there is a valid
// configuration and all its plugins are installed.
func (n *Network) Ready() error {
	c, err := n.conf.list()
	if err != nil {
		return err
	}
	for _, p := range c.list.Plugins {
		if _, err := n.exec.FindInPath(p.Network.Type, n.cni.Path); err != nil {
			return fmt.Errorf("network %s: %w", c.list.Name, err)
		}
	}
	return nil
}

// Describe is what Status shows of the network in its verbose answer.
func (n *Network) Describe() map[string]any {
	d := map[string]any{"confDir": n.conf.dir, "binDirs": n.cni.Path, "podCIDR": n.podCIDR()}
	if c, err := n.conf.list(); err != nil {
		d["error"] = err.Error()
	} else {
		d["network"], d["source"], d["cniVersion"] = c.list.Name, c.source, c.list.CNIVersion
	}
	return d
}

// Collect asks the plugins to free what belongs to none of the pods in valid.
// It covers attachments that a lost duty file would leak. Plugins older than
// CNI 1.1 have no such verb and are left alone.
func (n *Network) Collect(ctx context.Context, valid []string) error {
	c, err := n.conf.list()
	if err != nil || c.list.DisableGC {
		return nil //nolint:nilerr // without a network there is nothing to collect
	}
	args := &libcni.GCArgs{}
	for _, id := range valid {
		args.ValidAttachments = append(args.ValidAttachments, attachment(id))
	}
	if err := n.cni.GCNetworkList(ctx, c.list, args); err != nil {
		return fmt.Errorf("network %s: collect garbage: %w", c.list.Name, err)
	}
	return nil
}
