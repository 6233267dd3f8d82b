module github.com/tagwarden/tagwarden/bench

go 1.26
