package main

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/registry"
	"github.com/varve-cri/varve/imagestore/spool"
)

func imageConfig(cfg *config.Config) imagestore.Config {
	format := cfg.Images.Format
	if format == config.FormatAuto {
		format = ""
	}
	kept := spool.Limits{MaxBytes: cfg.Images.MaxSpoolBytes}
	if kept.MaxBytes < 0 {
		kept.MinBytes = -1
	}
	return imagestore.Config{
		Root: cfg.RootDir, Format: format, Platform: platform(cfg.Images.Platform), Registries: rules(cfg.Images.Registries),
		RegistryDirs: cfg.Images.RegistryConfigDirs, DockerConfig: cfg.Images.DockerConfig, CredentialHelperDirs: cfg.Images.CredentialHelperDirs,
		MaxLayerBytes: cfg.Images.MaxLayerBytes, MaxLayerEntries: cfg.Images.MaxLayerEntries, MaxImageBytes: cfg.Images.MaxImageBytes,
		Spool: kept, ParallelLayers: cfg.Images.ConcurrentLayers, Spares: *cfg.Images.SpareLayers, Pinned: cfg.Images.Pinned,
		CheckRate: *cfg.Images.CheckBytesPerSecond,
		Report:    func(message string) { klog.InfoS("Image store", "message", message) },
	}
}

// platform reads "os/arch[/variant]"; the store fills in this machine's.
func platform(s string) ocispec.Platform {
	if s == "" {
		return ocispec.Platform{}
	}
	parts := append(strings.SplitN(s, "/", 3), "", "")
	return ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}

func rules(registries []config.Registry) registry.Rules {
	out := registry.Rules{}
	for _, r := range registries {
		rule := registry.Rule{
			Fallback: !r.MirrorsOnly, PlainHTTP: r.PlainHTTP, CAFile: r.CAFile, SkipVerify: r.InsecureSkipVerify,
		}
		for _, m := range r.Mirrors {
			rule.Endpoints = append(rule.Endpoints, registry.Endpoint{URL: m.URL, CAFile: m.CAFile, SkipVerify: m.InsecureSkipVerify})
		}
		out[r.Name] = rule
	}
	return out
}
