//go:build !unix

package pin

import (
	"io/fs"
	"os"
)

// keepOwner does nothing where files have no owner in this sense.
func keepOwner(*os.File, fs.FileInfo) error { return nil }

// links is not known here.
func links(fs.FileInfo) uint64 { return 1 }
