package policy

// The lists of a policy that does not set its own. A name is in a list that
// mutes only if hardly anything else goes by it, because what is wrongly muted
// is not seen by anybody.

// defaultProduction are the namespaces that the shipped rules call production.
var defaultProduction = []string{"production", "prod"}

// defaultDevelopment are the namespaces in which images change all the time.
// Namespaces for tests and staging are not among them: they often run what
// will be in production tomorrow. Neither is "default", where many clusters
// run everything.
var defaultDevelopment = []string{
	"dev", "dev-*", "*-dev",
	"development", "development-*", "*-development",
	"sandbox", "sandbox-*", "*-sandbox",
	"playground",
}

// defaultDebugImages are the images that were made for debugging, or that the
// manuals of Kubernetes and its platforms tell people to debug with. General base images and tools
// (alpine, ubuntu, curlimages/curl) are not among them: they run as workloads,
// too. As ephemeral containers they are covered without being listed.
var defaultDebugImages = []string{
	"busybox",
	"public.ecr.aws/docker/library/busybox",
	"registry.k8s.io/e2e-test-images/busybox",
	"registry.k8s.io/e2e-test-images/agnhost",
	"registry.k8s.io/e2e-test-images/jessie-dnsutils", // Kubernetes: debugging DNS resolution
	"nicolaka/netshoot",
	"ghcr.io/nicolaka/netshoot",
	"wbitt/network-multitool",
	"mcr.microsoft.com/cbl-mariner/busybox",         // AKS: kubectl debug node
	"mcr.microsoft.com/aks/fundamental/base-ubuntu", // the same, before
	"registry.redhat.io/rhel8/support-tools",        // OpenShift: oc debug node
	"registry.redhat.io/rhel9/support-tools",
}

// defaultInfrastructureImages are what clusters are made of: the parts of
// Kubernetes, its networks and the add-ons of managed platforms. Whoever runs
// the cluster chose them together with it, so they are pinned in the baseline
// of the platform rather than one by one.
var defaultInfrastructureImages = []string{
	"registry.k8s.io/**",
	"k8s.gcr.io/**", // the same, before 2023
	"quay.io/cilium/**",
	"calico/**",
	"quay.io/calico/**",
	"quay.io/tigera/**",
	"ghcr.io/flannel-io/**",
	"gke.gcr.io/**",
	"602401143452.dkr.ecr.*.amazonaws.com/**", // EKS: the account of Amazon in most regions
	"public.ecr.aws/eks-distro/**",
	"mcr.microsoft.com/oss/kubernetes/**", // AKS
	"mcr.microsoft.com/oss/v2/kubernetes/**",
	"quay.io/openshift-release-dev/**",
	"rancher/**",
	"kindest/**",
}
