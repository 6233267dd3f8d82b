package render

// HelmHere and KustomizeHere render in this process, for fuzzing.
var (
	HelmHere      = helm
	GatherHere    = gather
	KustomizeHere = kustomize
)
