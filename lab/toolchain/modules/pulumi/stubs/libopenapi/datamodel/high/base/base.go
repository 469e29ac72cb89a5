package base

import (
	"github.com/pb33f/libopenapi/orderedmap"
	"go.yaml.in/yaml/v4"
)

type Info struct {
	Version string
}

type Discriminator struct {
	PropertyName string
	Mapping      *orderedmap.Map[string, string]
}

type SchemaProxy struct{}

func (*SchemaProxy) Schema() *Schema { return nil }

type DynamicValue struct {
	A *SchemaProxy
}

func (*DynamicValue) IsA() bool { return true }

type Low struct{}

func (*Low) Hash() uint64 { return 0 }

type Schema struct {
	Type                         []string
	Format, Description, Pattern string
	Default                      *yaml.Node
	Enum                         []*yaml.Node
	MinLength, MaxLength         *int64
	Minimum, Maximum, MultipleOf *float64
	ReadOnly, Nullable           *bool
	AllOf, OneOf, AnyOf          []*SchemaProxy
	Discriminator                *Discriminator
	Properties                   *orderedmap.Map[string, *SchemaProxy]
	Required                     []string
	Items, AdditionalProperties  *DynamicValue
	Extensions                   *orderedmap.Map[string, *yaml.Node]
}

func (*Schema) GoLow() *Low { return nil }

func (*Schema) MarshalJSONInline() ([]byte, error) { return nil, nil }
