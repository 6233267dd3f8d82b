package images

import (
	"io"
	"log" //nolint:depguard // the registry's option takes nothing else

	"github.com/google/go-containerregistry/pkg/registry"
)

// Serve runs a registry on addr until the process ends. It keeps everything
// in memory: whoever starts it again pushes again.
func Serve(addr string) error {
	return listen(addr, registry.New(registry.Logger(log.New(io.Discard, "", 0))))
}
