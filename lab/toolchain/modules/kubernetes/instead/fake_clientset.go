// Stands in for clientset_generated.go of client-go's fake clientset, which two helpers of tests bring into the programs
// of Kubernetes. Compiling it, and the fakes of each API, takes 35 s of processor time, and no program makes one.
package fake

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/testing"
)

type Clientset struct {
	kubernetes.Interface
	tracker testing.ObjectTracker
}

func NewClientset(...runtime.Object) *Clientset { panic("the fake clientset is left out") }

func NewSimpleClientset(...runtime.Object) *Clientset { return NewClientset() }

func (c *Clientset) Tracker() testing.ObjectTracker { return c.tracker }
