package enrich

import (
	"github.com/distribution/reference"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// images splits the references of all containers (https://github.com/distribution/reference, "Grammar"): an image without
// a registry is one of docker.io, as for every container runtime.
func (e *Enricher) images(_ *Input, a *alert.Alert) error {
	if a.Workload == nil {
		return nil
	}
	for i := range a.Workload.Containers {
		parseImage(&a.Workload.Containers[i].Image)
	}
	return nil
}

// parseImage fills in the parts of image.Raw. What cannot be parsed stays without parts: the runtime would refuse it.
func parseImage(image *alert.Image) {
	named, err := reference.ParseNormalizedNamed(image.Raw)
	if err != nil {
		return
	}
	image.Registry, image.Repository = reference.Domain(named), reference.Path(named)
	if tagged, ok := named.(reference.Tagged); ok {
		image.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		image.Digest = digested.Digest().String()
	}
}
