package httpapi

import (
	"bytes"
	"encoding/json"
)

// The parts of OpenAPI 2.0 that a connector of the Power Platform is made of: it
// imports no later version, and huma writes no earlier one than 3.
type (
	swagger struct {
		Swagger     string                     `json:"swagger"`
		Info        swaggerInfo                `json:"info"`
		Host        string                     `json:"host,omitempty"`
		BasePath    string                     `json:"basePath"`
		Schemes     []string                   `json:"schemes"`
		Consumes    []string                   `json:"consumes"`
		Produces    []string                   `json:"produces"`
		Paths       map[string]swaggerPath     `json:"paths"`
		Definitions map[string]*swaggerSchema  `json:"definitions"`
		Security    []map[string][]string      `json:"security"`
		Schemas     map[string]swaggerSecurity `json:"securityDefinitions"`
	}

	swaggerInfo struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Version     string `json:"version"`
	}

	swaggerPath struct {
		Get  *swaggerOperation `json:"get,omitempty"`
		Post *swaggerOperation `json:"post,omitempty"`
	}

	swaggerOperation struct {
		ID          string                     `json:"operationId"`
		Summary     string                     `json:"summary"`
		Description string                     `json:"description"`
		Visibility  string                     `json:"x-ms-visibility,omitempty"`
		Parameters  []swaggerParameter         `json:"parameters,omitempty"`
		Responses   map[string]swaggerResponse `json:"responses"`
	}

	// swaggerParameter has a Schema where In is body, else a Type.
	swaggerParameter struct {
		Name        string         `json:"name"`
		In          string         `json:"in"`
		Required    bool           `json:"required,omitempty"`
		Summary     string         `json:"x-ms-summary,omitempty"`
		Description string         `json:"description,omitempty"`
		Visibility  string         `json:"x-ms-visibility,omitempty"`
		Type        string         `json:"type,omitempty"`
		Enum        []string       `json:"enum,omitempty"`
		MaxLength   int64          `json:"maxLength,omitempty"`
		Schema      *swaggerSchema `json:"schema,omitempty"`
	}

	swaggerResponse struct {
		Description string         `json:"description"`
		Schema      *swaggerSchema `json:"schema,omitempty"`
	}

	swaggerSchema struct {
		Ref         string         `json:"$ref,omitempty"`
		Type        string         `json:"type,omitempty"`
		Format      string         `json:"format,omitempty"`
		Summary     string         `json:"x-ms-summary,omitempty"`
		Description string         `json:"description,omitempty"`
		Visibility  string         `json:"x-ms-visibility,omitempty"`
		Nullable    bool           `json:"x-nullable,omitempty"`
		Enum        []string       `json:"enum,omitempty"`
		Pattern     string         `json:"pattern,omitempty"`
		MinLength   *int64         `json:"minLength,omitempty"`
		MaxLength   *int64         `json:"maxLength,omitempty"`
		Minimum     *int64         `json:"minimum,omitempty"`
		Maximum     *int64         `json:"maximum,omitempty"`
		Default     any            `json:"default,omitempty"`
		Example     any            `json:"example,omitempty"`
		Properties  properties     `json:"properties,omitempty"`
		Required    []string       `json:"required,omitempty"`
		Items       *swaggerSchema `json:"items,omitempty"`
	}

	swaggerSecurity struct {
		Type        string `json:"type"`
		In          string `json:"in"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}

	property struct {
		name   string
		schema *swaggerSchema
	}

	// properties keep their order: Power Fx takes the required ones by position,
	// in the order of the document.
	properties []property
)

// MarshalJSON writes an object in the order of the list.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, one := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(one.name)
		if err != nil {
			return nil, err
		}
		schema, err := json.Marshal(one.schema)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(schema)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func object(list ...property) *swaggerSchema {
	return &swaggerSchema{Type: "object", Properties: list}
}

func list(of *swaggerSchema) *swaggerSchema { return &swaggerSchema{Type: "array", Items: of} }

func ref(definition string) *swaggerSchema {
	return &swaggerSchema{Ref: "#/definitions/" + definition}
}

// is describes one property of an answer: kind is a
// type of OpenAPI, int or date-time.
func is(name, kind, summary, description string) property {
	s := &swaggerSchema{Type: kind, Summary: summary, Description: description}
	switch kind {
	case "date-time":
		s.Type, s.Format = "string", kind
	case "int":
		s.Type, s.Format = "integer", "int32"
	}
	return property{name, s}
}

// holds describes a property that is an object or a list.
func holds(name string, s *swaggerSchema, summary, description string) property {
	s.Summary, s.Description = summary, description
	return property{name, s}
}
