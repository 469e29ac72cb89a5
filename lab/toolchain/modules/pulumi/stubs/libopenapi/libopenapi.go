// Package libopenapi reads no document: compiling the library takes a fifth of the time that the engine takes, and
// only `pulumi api` reads one, that of Pulumi Cloud.
package libopenapi

import (
	"errors"

	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

type Document struct{}

type DocumentModel struct {
	Model v3.Document
}

func NewDocument([]byte) (*Document, error) {
	return nil, errors.New("this pulumi was built without what reads one; `pulumi api` needs an official release")
}

func (*Document) BuildV3Model() (*DocumentModel, error) { return nil, nil }
