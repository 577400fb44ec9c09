// Package wire is what goes over the admin socket, version 1, as both ends have
// it. It is data alone: package admin answers, package client asks.
package wire

import (
	"time"

	"github.com/varve-cri/varve/imagestore/progress"
)

// Error is the body of every answer that is no success.
type Error struct {
	Error string `json:"error"`
	Code  string `json:"code"` // a gRPC code's name, such as "NotFound"
}

// Version answers GET /v1/version.
type Version struct {
	Version string   `json:"version"` // of varved
	Go      string   `json:"go"`
	APIs    []string `json:"apis"` // "v1"
}

// Pulls answers GET /v1/pulls: those that ended, then those that run, oldest
// first. With watch=1 the answer is a progress.State in each line instead: one for
// each pull that runs, then one for each change.
type Pulls struct {
	Pulls []progress.State `json:"pulls"`
}

// PullRequest is the body of POST /v1/pulls. The answer is a progress.State in
// each line; the last one's stage is "done" or "failed".
type PullRequest struct {
	Image    string `json:"image"`
	Platform string `json:"platform,omitempty"` // "os/arch[/variant]"; varved's by default
	Auth     *Auth  `json:"auth,omitempty"`     // for the image's own registry
}

// Auth is credentials as a docker config.json has them.
type Auth struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	Auth          string `json:"auth,omitempty"` // base64 of "username:password"
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Images answers GET /v1/images, and with ref=NAME for that image alone.
type Images struct {
	Images []Image `json:"images"`
}

// Image is an image of the store.
type Image struct {
	ID       string     `json:"id"`
	Tags     []string   `json:"tags"`
	Digests  []string   `json:"digests"`
	Platform string     `json:"platform"`
	Size     uint64     `json:"size"`   // bytes on disk
	Unique   uint64     `json:"unique"` // what the removal of the image alone would free
	Layers   []string   `json:"layers"` // chain ids, lowest first
	Pinned   bool       `json:"pinned"`
	Created  *time.Time `json:"created,omitempty"` // by its maker
	Pulled   time.Time  `json:"pulled"`
}

// Layers answers GET /v1/layers, parents before their children, and with ref=NAME
// for the layers of that image alone.
type Layers struct {
	Layers []Layer `json:"layers"`
}

// Layer is a layer of the store.
type Layer struct {
	ID        string    `json:"id"` // chain id: this diff and all below it
	Parent    string    `json:"parent,omitempty"`
	Diff      string    `json:"diffID"`
	Blob      string    `json:"blob"`
	MediaType string    `json:"mediaType"`
	Format    string    `json:"format"`
	Tree      string    `json:"tree"`     // its directory; layers with one diff may share it
	BlobSize  int64     `json:"blobSize"` // bytes as they were fetched
	TarSize   int64     `json:"tarSize"`  // bytes of the archive
	Size      uint64    `json:"size"`     // bytes on disk
	Inodes    uint64    `json:"inodes"`
	Images    []string  `json:"images"` // ids of those that use it
	Made      time.Time `json:"made"`
	Step      *Step     `json:"history,omitempty"` // that made it
}

// History answers GET /v1/history?ref=NAME.
type History struct {
	ID    string `json:"id"`    // of the image
	Steps []Step `json:"steps"` // oldest first
}

// Step is one step of an image's making, as its maker tells it.
type Step struct {
	Created   *time.Time `json:"created,omitempty"`
	CreatedBy string     `json:"createdBy,omitempty"`
	Author    string     `json:"author,omitempty"`
	Comment   string     `json:"comment,omitempty"`
	Layer     string     `json:"layer,omitempty"` // chain id; none for a step that changed no files
	Size      uint64     `json:"size,omitempty"`  // of the layer, bytes on disk
}

// Store answers GET /v1/store.
type Store struct {
	Root         string   `json:"root"`
	Format       string   `json:"format"` // of new images' layers
	FormatReason string   `json:"formatReason"`
	Images       int      `json:"images"`
	Layers       int      `json:"layers"`
	Containers   int      `json:"containers"`   // read-write layers
	Bytes        uint64   `json:"bytes"`        // of the layers, those that are shared once
	Inodes       uint64   `json:"inodes"`       // of the layers
	TrashPending int      `json:"trashPending"` // removed things whose space is not free yet
	Free         uint64   `json:"free"`         // bytes of the file system
	Total        uint64   `json:"total"`        // bytes of the file system
	Orphans      []string `json:"orphans"`      // what no row knows; there should be none
	Damaged      []Damage `json:"damaged"`      // layers that are not what was written
}

// Damage is a layer that is not what was written. The next pull of one of its
// images fetches it again.
type Damage struct {
	Layer   string    `json:"layer"` // chain id
	Format  string    `json:"format"`
	Images  []string  `json:"images"` // names, or ids of those without
	Problem string    `json:"problem"`
	Found   time.Time `json:"found"`
}

// Reload is what a changed configuration has come to, by the names of its fields.
type Reload struct {
	Changed      []string `json:"changed"`
	NeedsRestart []string `json:"needsRestart"`
}

// Operations answers GET /v1/operations: what runs now, the CRI's newest first and
// then the pulls.
type Operations struct {
	Operations []Operation `json:"operations"`
}

// Operation is an operation that runs, and the step that it is in.
type Operation struct {
	Verb    string    `json:"verb"`
	Object  string    `json:"object"`
	ID      string    `json:"id,omitempty"`
	Step    string    `json:"step"`
	Detail  string    `json:"detail,omitempty"` // what the step waits for
	Index   int       `json:"index"`            // of the step, from 0
	Steps   int       `json:"steps"`
	Undoing bool      `json:"undoing,omitempty"`
	Since   time.Time `json:"since"`
}
