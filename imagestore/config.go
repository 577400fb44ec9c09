package imagestore

import (
	"math"
	"net/http"
	"runtime"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/registry"
	"github.com/varve-cri/varve/imagestore/spool"
)

// Config is what Open needs to know. Only Root must be set.
type Config struct {
	// Root is the store's own directory, on a file system that overlay accepts as
	// an upper layer.
	Root string
	// Platform chooses from an index; the zero value is this machine's.
	Platform ocispec.Platform
	// Registries are the mirror rules.
	Registries registry.Rules
	// RegistryDirs hold a hosts.toml for each registry; see registry.Config.
	RegistryDirs []string
	// DockerConfig is the path of a docker config.json with credentials for pulls
	// that bring none, and CredentialHelperDirs where its helpers are.
	DockerConfig         string
	CredentialHelperDirs []string
	// Spool bounds what is kept of blobs that come slowly, for a pull that goes on
	// after a restart.
	Spool spool.Limits
	// Network bounds connections, retries and slow transfers; zero fields have defaults.
	Network registry.Limits
	// Transport is used instead of one made from the rules, for tests and proxies.
	Transport http.RoundTripper
	// Format is the layer format of new images: FormatErofs, FormatOverlay, or ""
	// for the first of them that this kernel and the root's file system have.
	// Images that are there keep theirs.
	Format string
	// MaxLayerBytes bounds what one layer may unpack to; 0 is 64 GiB,
	// negative is no bound.
	MaxLayerBytes int64
	// MaxLayerEntries bounds the entries of one layer's archive, each of which costs
	// an inode; 0 is 8 Mi, negative is no bound.
	MaxLayerEntries int64
	// MaxImageBytes bounds what an image's layers may unpack to together, and what
	// their blobs may have; 0 is 256 GiB, negative is no bound.
	MaxImageBytes int64
	// ParallelLayers bounds the layers unpacked at a time, over all pulls; 0 is
	// two for each processor.
	ParallelLayers int
	// Pinned are names or ids of images that garbage collection must not ask to
	// remove; a trailing "*" matches any rest.
	Pinned []string
	// Spares is how many read-write layers of an image in use wait, mounted, for
	// its next containers; 0 is none.
	Spares int
	// LooseLayers is how long whole layers of a pull that failed are kept for the
	// next try; 0 is ten minutes, negative is not at all.
	LooseLayers time.Duration
	// Report is told of what Open found damaged and of what the background could
	// not do; nil drops it.
	Report func(message string)

	// CheckRate is how many bytes a second are read to find damaged layers in the
	// background; 0 is not at all.
	CheckRate int64

	hook func(step string) // tests stop here
	now  func() time.Time  // tests set the clock
}

func (c Config) withDefaults() Config {
	if c.Platform.OS == "" {
		c.Platform = ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	orLimit(&c.MaxLayerBytes, 64<<30)
	orLimit(&c.MaxLayerEntries, 8<<20)
	orLimit(&c.MaxImageBytes, 256<<30)
	if c.ParallelLayers <= 0 {
		c.ParallelLayers = 2 * runtime.GOMAXPROCS(0)
	}
	if c.LooseLayers == 0 {
		c.LooseLayers = 10 * time.Minute
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.Report == nil {
		c.Report = func(string) {}
	}
	return c
}

func (c Config) registries() registry.Config {
	return registry.Config{
		Rules: c.Registries, Directories: c.RegistryDirs, DockerConfig: c.DockerConfig, HelperDirs: c.CredentialHelperDirs,
		Limits: c.Network, Transport: c.Transport,
	}
}

func orLimit(n *int64, otherwise int64) {
	switch {
	case *n == 0:
		*n = otherwise
	case *n < 0:
		*n = math.MaxInt64
	}
}

// Auth is the credentials that a pull may use with the image's own registry.
type Auth = registry.Auth

// PullOptions are the caller's wishes for one pull.
type PullOptions struct {
	// Auth is nil for an anonymous pull.
	Auth *Auth
	// Platform overrides the store's; nil does not.
	Platform *ocispec.Platform
	// Format is the layer format that the image gets if it is new, one of those
	// that Store.CheckFormat accepts; "" is the store's own choice.
	Format string
	// Operation is the pull as Store.Begin gave it; nil lets Pull begin one.
	Operation *progress.Pull
}
