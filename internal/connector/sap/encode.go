package sap

import (
	"encoding/json"
	"strconv"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/sheet"
	"patchbay/internal/fault"
)

// body is a row as its service takes it, without the columns left out.
func (t target) body(row connector.Row, without []string) ([]byte, error) {
	values, err := t.values(row)
	if err != nil {
		return nil, err
	}
	for _, column := range without {
		delete(values, column)
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connector.value", "a row of "+t.table.Name+" holds a value that JSON cannot carry", err)
	}
	return text, nil
}

// values are those of a row in the form of their types.
func (t target) values(row connector.Row) (map[string]any, error) {
	values := make(map[string]any, len(row))
	for column, v := range row {
		p, known := t.entity.properties[column]
		if !known {
			return nil, fault.New(fault.Rejected, System+".unknown_property", "the service has no column "+column+" in table "+t.table.Name, nil)
		}
		out, ok := t.encode(p, v)
		if !ok {
			return nil, fault.New(fault.Rejected, System+".value", "column "+column+" of "+t.table.Name+" is of type "+p.kind()+" and was given something else", nil)
		}
		values[column] = out
	}
	return values, nil
}

// encode is one value in the form of its type: decimals as text, which both versions
// take and no reader rounds.
func (t target) encode(p property, v any) (any, bool) {
	text, ok := scalar(v)
	if v == nil || !ok {
		return v, v == nil || p.kind() == "list" || p.kind() == "object"
	}
	_, isText := v.(string)
	switch p.edm {
	case "String", "Guid", "Binary":
		return text, true
	case "Boolean":
		is, err := strconv.ParseBool(text)
		return is, err == nil
	case "Decimal", "Int64", "Double", "Single", "Float":
		return text, sheet.IsNumber(text)
	case "Int32", "Int16", "Byte", "SByte":
		return json.Number(text), sheet.IsNumber(text)
	case "Date":
		at, ok := instant(text)
		return at.Format(time.DateOnly), ok && isText
	case "DateTime", "DateTimeOffset":
		at, ok := instant(text)
		if t.v4 {
			return at.Format(time.RFC3339Nano), ok && isText
		}
		offset := ""
		if p.edm == "DateTimeOffset" {
			offset = "+0000"
		}
		return "/Date(" + strconv.FormatInt(at.UnixMilli(), 10) + offset + ")/", ok && isText
	case "Time":
		at, err := time.Parse(time.TimeOnly, text)
		return at.Format("PT15H04M05S"), err == nil
	}
	return v, true
}
