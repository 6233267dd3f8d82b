module github.com/tagwarden/tagwarden/bench

go 1.26.0

require github.com/tagwarden/tagwarden v0.0.0

require github.com/google/go-containerregistry v0.22.1 // indirect

replace github.com/tagwarden/tagwarden => ../
