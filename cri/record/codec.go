package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// version is the format of the files. A reader refuses a newer one: a
// downgraded daemon must not act on what it does not understand.
const version = 1

// maxRecord bounds a record that is read: a request is at most 16 MiB (gRPC),
// base64 makes it a third longer, and a container has at most three messages.
const maxRecord = 64 << 20

// podJSON is a pod as it is in the file. The request is kept in protobuf's
// own encoding: it is lossless (envs are bytes, unknown fields stay) and
// quicker than its JSON form.
type podJSON struct {
	Version int `json:"version"`
	*Pod
	Config []byte `json:"config"`
}

type containerJSON struct {
	Version int `json:"version"`
	*Container
	Config    []byte   `json:"config"`
	Resources []byte   `json:"resources,omitempty"`
	Mounts    [][]byte `json:"mounts,omitempty"`
}

func encodePod(p *Pod) ([]byte, error) {
	cfg, err := proto.Marshal(p.Config)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return json.Marshal(podJSON{version, p, cfg})
}

func decodePod(id string, data []byte) (*Pod, error) {
	v := podJSON{Pod: &Pod{}}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	p := v.Pod
	if err := checkHeader(v.Version, id, p.ID, p.CreatedAt); err != nil {
		return nil, err
	}
	switch p.State {
	case PodPreparing, PodReady, PodNotReady, PodRemoving:
	default:
		return nil, fmt.Errorf("state %q is not known", p.State)
	}
	p.Config = &runtimeapi.PodSandboxConfig{}
	if err := proto.Unmarshal(v.Config, p.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return p, nil
}

func encodeContainer(c *Container) ([]byte, error) {
	v := containerJSON{Version: version, Container: c}
	var err error
	if v.Config, err = proto.Marshal(c.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if c.Resources != nil {
		if v.Resources, err = marshalPresent(c.Resources); err != nil {
			return nil, fmt.Errorf("resources: %w", err)
		}
	}
	for _, m := range c.Mounts {
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("mounts: %w", err)
		}
		v.Mounts = append(v.Mounts, b)
	}
	return json.Marshal(v)
}

// marshalPresent encodes the message in a wrapper: an empty message would
// encode as no bytes and come back as "none".
func marshalPresent(r *runtimeapi.LinuxContainerResources) ([]byte, error) {
	return proto.Marshal(&runtimeapi.ContainerResources{Linux: r})
}

func decodeContainer(id string, data []byte) (*Container, error) {
	v := containerJSON{Container: &Container{}}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	c := v.Container
	if err := checkHeader(v.Version, id, c.ID, c.CreatedAt); err != nil {
		return nil, err
	}
	switch c.State {
	case Created, Starting, Running, Exited, Unknown, Removing:
	default:
		return nil, fmt.Errorf("state %q is not known", c.State)
	}
	if c.PodID == "" {
		return nil, errors.New("podId is empty")
	}
	c.Config = &runtimeapi.ContainerConfig{}
	if err := proto.Unmarshal(v.Config, c.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if v.Resources != nil {
		var r runtimeapi.ContainerResources
		if err := proto.Unmarshal(v.Resources, &r); err != nil {
			return nil, fmt.Errorf("resources: %w", err)
		}
		c.Resources = r.GetLinux()
	}
	for i, b := range v.Mounts {
		m := &runtimeapi.Mount{}
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, fmt.Errorf("mounts[%d]: %w", i, err)
		}
		c.Mounts = append(c.Mounts, m)
	}
	return c, nil
}

// checkHeader checks what both kinds of records have in common.
func checkHeader(v int, dir, id string, created int64) error {
	switch {
	case v < 1 || v > version:
		return fmt.Errorf("format version %d is not known (up to %d is)", v, version)
	case id != dir:
		return fmt.Errorf("id %q is not the directory's name", id)
	case created <= 0:
		return fmt.Errorf("createdAt %d is not a time", created)
	}
	return nil
}

// readCapped reads a record, up to a bound.
func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxRecord {
		return nil, fmt.Errorf("larger than %d bytes", maxRecord)
	}
	return data, nil
}
