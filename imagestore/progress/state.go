package progress

import (
	"time"

	"github.com/varve-cri/varve/imagestore/fault"
)

// Stage is what a pull is busy with.
type Stage string

// The stages of a pull, in order; the last two are ends.
const (
	Resolving Stage = "resolve" // asks what the reference names, and for the manifest
	Config    Stage = "config"
	Layers    Stage = "layers"
	Joining   Stage = "join"   // what the format makes of all layers
	Commit    Stage = "commit" // the image's row and names are written
	Done      Stage = "done"
	Failed    Stage = "failed"
)

// Ended tells whether nothing more will happen.
func (s Stage) Ended() bool { return s == Done || s == Failed }

// LayerStage is what a layer of a pull is busy with.
type LayerStage string

// The stages of a layer. One that is here already skips those between.
const (
	LayerWaiting   LayerStage = "waiting"  // for its turn, or for another layer
	LayerFetching  LayerStage = "fetching" // and unpacking what has come
	LayerUnpacking LayerStage = "unpacking"
	LayerSyncing   LayerStage = "syncing"
	LayerPresent   LayerStage = "present" // was here before
	LayerDone      LayerStage = "done"
	LayerFailed    LayerStage = "failed"
)

// Ended tells whether nothing more will happen.
func (s LayerStage) Ended() bool { return s == LayerPresent || s == LayerDone || s == LayerFailed }

// State is a pull at one moment. Its JSON is part of the operator's API.
type State struct {
	ID        string     `json:"id"` // counts from 1 in the life of a daemon
	Reference string     `json:"reference"`
	Platform  string     `json:"platform,omitempty"` // if one was asked for
	Started   time.Time  `json:"started"`
	Ended     *time.Time `json:"ended,omitempty"`
	Stage     Stage      `json:"stage"`
	Error     string     `json:"error,omitempty"`
	Kind      fault.Kind `json:"kind,omitempty"`  // of the error
	Image     string     `json:"image,omitempty"` // id, when it is done
	// Unchanged is for an image that was here and that the registry still means.
	Unchanged bool `json:"unchanged,omitempty"`

	// Sums over the layers; Retries and Resumes count the manifest's as well.
	Total   int64 `json:"total"`   // bytes of all blobs, with those that are here already
	Fetched int64 `json:"fetched"` // bytes, with Kept
	Kept    int64 `json:"kept,omitempty"`
	Rate    int64 `json:"rate"`    // bytes a second, smoothed
	Retries int64 `json:"retries"` // requests that were made again
	Resumes int64 `json:"resumes"` // transfers that were taken up where they broke
	// Trouble is why the last of those that are no layer's was made again.
	Trouble string `json:"trouble,omitempty"`

	Layers []LayerState `json:"layers"` // lowest first; empty until the config is read
}

// LayerState is a layer of a pull at one moment.
type LayerState struct {
	Digest   string     `json:"digest"` // of the blob
	Stage    LayerStage `json:"stage"`
	Shared   bool       `json:"shared,omitempty"` // another pull's transfer, that this one waits for
	Total    int64      `json:"total"`            // bytes of the blob
	Fetched  int64      `json:"fetched"`          // bytes of the blob
	Kept     int64      `json:"kept,omitempty"`   // of these, what an earlier pull had left on the disk
	Unpacked int64      `json:"unpacked"`         // bytes of the archive
	Rate     int64      `json:"rate"`             // of fetching, bytes a second, smoothed
	Retries  int64      `json:"retries,omitempty"`
	Resumes  int64      `json:"resumes,omitempty"`
	Trouble  string     `json:"trouble,omitempty"` // why the last of those
}
