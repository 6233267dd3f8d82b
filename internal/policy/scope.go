package policy

import (
	"errors"

	"k8s.io/apimachinery/pkg/labels"
)

// A labelSelector is a selector over the labels of namespaces.
type labelSelector struct {
	text string
	labels.Selector
}

// newLabelSelector reads a selector as kubectl -l takes it.
func newLabelSelector(s string) (labelSelector, error) {
	sel, err := labels.Parse(s)
	if err != nil {
		return labelSelector{}, errors.New(quote(s) + " is no label selector, write e.g. environment=production or environment in (live, prod)")
	}
	if sel.Empty() {
		return labelSelector{}, errors.New(quote(s) + " selects everything and so limits nothing, write e.g. environment=production")
	}
	return labelSelector{text: s, Selector: sel}, nil
}

// selects reports whether one of the selectors takes the labels. Labels that
// are not known, nil, are taken by none: nothing is decided by guess.
func selects(sels []labelSelector, of map[string]string) bool {
	if of == nil {
		return false
	}
	for i := range sels {
		if sels[i].Matches(labels.Set(of)) {
			return true
		}
	}
	return false
}

func texts(sels []labelSelector) []string {
	all := make([]string, len(sels))
	for i, s := range sels {
		all[i] = s.text
	}
	return all
}

// Scope returns which kind of namespace the one with this name and these labels
// is. nil stands for labels that are not known. The empty name is one that is
// not known, which is elsewhere.
func (p *Policy) Scope(namespace string, labels map[string]string) Scope {
	switch {
	case p.Production(namespace) || selects(p.productionLabels, labels):
		return Production
	case namespace != "" && p.development.match(namespace) || selects(p.developmentLabels, labels):
		return Development
	}
	return Elsewhere
}

// UsesLabels reports whether the labels of namespaces make a difference.
func (p *Policy) UsesLabels() bool {
	return len(p.productionLabels)+len(p.developmentLabels) > 0
}

// ProductionLabels returns the selectors over the labels of production
// namespaces, as kubectl -l takes them. One that matches is enough.
func (p *Policy) ProductionLabels() []string { return texts(p.productionLabels) }

// DevelopmentNamespaces returns the names and the patterns of the development
// namespaces in the order of the file.
func (p *Policy) DevelopmentNamespaces() []string { return p.development.patterns() }

// DevelopmentLabels is ProductionLabels for development namespaces.
func (p *Policy) DevelopmentLabels() []string { return texts(p.developmentLabels) }
