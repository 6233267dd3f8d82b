package corpus_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/bench/internal/corpus"
)

// TestTruth: the line of each reference has its text, and the same seed makes
// the same files.
func TestTruth(t *testing.T) {
	t.Parallel()
	const n = 1500
	dirs := []string{t.TempDir(), t.TempDir()}
	var told [2]string
	classes := map[corpus.Class]int{}
	without := 0
	for i, dir := range dirs {
		files, err := corpus.Write(dir, n, 1)
		if err != nil {
			t.Fatal(err)
		}
		told[i] = fmt.Sprint(files)
		for _, f := range files {
			data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Name)))
			if err != nil {
				t.Fatal(err)
			}
			told[i] += string(data)
			if len(f.References) == 0 {
				without++
			}
			lines := strings.Split(string(data), "\n")
			for _, r := range f.References {
				classes[r.Class]++
				if !strings.Contains(lines[r.Line-1], r.Text) {
					t.Errorf("%s:%d: %q has no %s", f.Name, r.Line, lines[r.Line-1], r.Text)
				}
			}
		}
	}
	if told[0] != told[1] {
		t.Error("the same seed made other files")
	}
	if without < n || without > 2*n*7/10 {
		t.Errorf("%d of %d files have no image", without, 2*n)
	}
	if len(classes) != 6 {
		t.Errorf("the classes are %v, want six", classes)
	}
}
