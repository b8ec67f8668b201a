package seed

import (
	"math/rand/v2"
	"slices"
	"strconv"
)

type (
	// family is a kind of product: how its members are called and specified.
	family struct {
		prefix, class string
		nouns         []string
		traits        []string
		attributes    []property
	}

	// property is one attribute of a family. The value is one of the choices, or a
	// number from low to high in steps, with decimals places.
	property struct {
		name, unit      string
		choices         []string
		low, high, step float64
		places          int
	}
)

func (f family) name(r *rand.Rand) string {
	return pick(r, f.traits) + " " + pick(r, f.nouns) + " " + pick(r, series) + strconv.Itoa(100+r.IntN(90)*10)
}

// unit is what members are counted in.
func (f family) unit() string {
	if f.prefix == "HE" {
		return "Kilogram"
	}
	return "Each"
}

// specify gives a member 6 to 20 of the family's attributes, in their order.
func (f family) specify(r *rand.Rand) []Specification {
	all := slices.Concat(f.attributes, general)
	n := min(len(all), 6+r.IntN(15))
	chosen := r.Perm(len(all))[:n]
	slices.Sort(chosen)
	list := make([]Specification, n)
	for i, at := range chosen {
		list[i] = Specification{Attribute: all[at].name, Value: all[at].value(r), Unit: all[at].unit}
	}
	return list
}

func (p property) value(r *rand.Rand) string {
	if p.choices != nil {
		return pick(r, p.choices)
	}
	steps := int((p.high-p.low)/p.step) + 1
	return strconv.FormatFloat(p.low+float64(r.IntN(steps))*p.step, 'f', p.places, 64)
}

func oneOf(name string, choices ...string) property { return property{name: name, choices: choices} }

func measure(name, unit string, low, high, step float64, places int) property {
	return property{name: name, unit: unit, low: low, high: high, step: step, places: places}
}

var series = []string{"A", "E", "K", "M", "P", "S", "T", "X"}

// laptop is what the example shows; readers know it by heart.
var laptop = []Specification{
	{"Processor", "8 cores, 3.2 GHz", ""}, {"Memory", "32", "GB"}, {"Storage", "1024", "GB"}, {"Display size", "14.0", "in"},
	{"Display resolution", "2880 x 1800", "px"}, {"Battery capacity", "72", "Wh"}, {"Battery life", "11", "h"}, {"Weight", "1.34", "kg"},
	{"Wireless", "Wi-Fi 6E, Bluetooth 5.3", ""}, {"Ports", "2 x USB-C, 1 x HDMI 2.1", ""}, {"Operating temperature", "5 to 35", "°C"}, {"Warranty", "36", "months"},
}

// general attributes fit every product.
var general = []property{
	measure("Weight", "kg", 0.2, 48, 0.1, 1), measure("Width", "mm", 40, 900, 5, 0), measure("Height", "mm", 30, 700, 5, 0), measure("Depth", "mm", 30, 600, 5, 0),
	oneOf("Protection class", "IP20", "IP54", "IP65", "IP67", "IP68"), oneOf("Country of origin", "Germany", "France", "Switzerland", "Italy", "Japan", "Mexico"),
	measure("Warranty", "months", 12, 60, 12, 0), oneOf("Certification", "CE", "CE, UL", "CE, UL, CSA", "CE, RoHS, REACH"),
	measure("Noise level", "dB(A)", 18, 78, 1, 0), oneOf("Colour", "RAL 7035 light grey", "RAL 9005 jet black", "RAL 5010 gentian blue", "stainless"),
}

// families are the trades of the catalogue.
var families = []family{
	{prefix: "LT", class: "Electronics", nouns: []string{"Laptop", "Notebook", "Mobile workstation"}, traits: []string{"Slim", "Rugged", "Business", "Field"}, attributes: []property{
		oneOf("Processor", "4 cores, 2.4 GHz", "6 cores, 2.8 GHz", "8 cores, 3.2 GHz", "12 cores, 3.6 GHz"), measure("Memory", "GB", 8, 64, 8, 0), measure("Storage", "GB", 256, 2048, 256, 0),
		oneOf("Display resolution", "1920 x 1200", "2560 x 1600", "2880 x 1800", "3840 x 2400"), measure("Display size", "in", 12, 17, 0.5, 1), measure("Battery capacity", "Wh", 45, 99, 3, 0),
		measure("Battery life", "h", 6, 20, 1, 0), oneOf("Wireless", "Wi-Fi 6", "Wi-Fi 6E", "Wi-Fi 7"), oneOf("Ports", "2 x USB-C", "2 x USB-C, 1 x HDMI", "3 x USB-C, 1 x RJ45"), oneOf("Keyboard layout", "DE", "FR", "CH", "US")}},
	{prefix: "PU", class: "Pumps", nouns: []string{"Centrifugal pump", "Diaphragm pump", "Gear pump", "Dosing pump"}, traits: []string{"Compact", "High-pressure", "Self-priming", "Hygienic"}, attributes: []property{
		measure("Flow rate", "m³/h", 0.5, 420, 0.5, 1), measure("Head", "m", 4, 160, 2, 0), measure("Rated power", "kW", 0.37, 55, 0.37, 2), measure("Rated speed", "1/min", 950, 3600, 50, 0),
		oneOf("Supply voltage", "1 x 230 V, 50 Hz", "3 x 400 V, 50 Hz", "3 x 480 V, 60 Hz"), oneOf("Casing material", "cast iron EN-GJL-250", "stainless 1.4404", "PVDF", "bronze"), oneOf("Shaft seal", "mechanical, SiC/SiC", "mechanical, carbon/ceramic", "magnetic coupling"),
		measure("Maximum pressure", "bar", 6, 40, 2, 0), oneOf("Medium temperature", "-10 to 90 °C", "0 to 110 °C", "-20 to 140 °C"), oneOf("Connection", "DN 25", "DN 40", "DN 50", "DN 80", "DN 100")}},
	{prefix: "VA", class: "Valves", nouns: []string{"Ball valve", "Butterfly valve", "Solenoid valve", "Globe valve", "Check valve"}, traits: []string{"Pneumatic", "Manual", "Motorised", "Fail-safe"}, attributes: []property{
		oneOf("Nominal diameter", "DN 15", "DN 25", "DN 40", "DN 50", "DN 80", "DN 150"), oneOf("Nominal pressure", "PN 10", "PN 16", "PN 25", "PN 40"), measure("Kv value", "m³/h", 1, 320, 1, 0), oneOf("Body material", "1.4408", "1.0619", "PVC-U", "CW617N"),
		oneOf("Seat material", "PTFE", "EPDM", "FKM", "metal"), oneOf("End connection", "flange", "thread G", "welding end", "wafer"), measure("Closing time", "s", 0.5, 30, 0.5, 1), oneOf("Actuator", "none", "pneumatic, single-acting", "pneumatic, double-acting", "electric 24 V DC"),
		oneOf("Leakage rate", "A (EN 12266-1)", "B (EN 12266-1)", "D (EN 12266-1)"), oneOf("Medium temperature", "-20 to 120 °C", "-40 to 200 °C", "0 to 60 °C")}},
	{prefix: "MO", class: "Drives", nouns: []string{"Asynchronous motor", "Servo motor", "Gear motor", "Stepper motor"}, traits: []string{"Premium-efficiency", "Brake", "Explosion-proof", "Compact"}, attributes: []property{
		measure("Rated power", "kW", 0.12, 90, 0.12, 2), measure("Rated torque", "Nm", 0.4, 600, 0.4, 1), measure("Rated speed", "1/min", 700, 6000, 50, 0), measure("Rated current", "A", 0.4, 165, 0.2, 1),
		oneOf("Supply voltage", "24 V DC", "3 x 400 V, 50 Hz", "3 x 690 V, 50 Hz"), oneOf("Efficiency class", "IE2", "IE3", "IE4", "IE5"), oneOf("Frame size", "63", "80", "100L", "132M", "160L"), oneOf("Insulation class", "F", "H"),
		measure("Moment of inertia", "kg·m²", 0.001, 0.9, 0.001, 3), oneOf("Encoder", "none", "incremental, 1024 ppr", "absolute, 20 bit"), oneOf("Mounting", "IM B3", "IM B5", "IM B14")}},
	{prefix: "SE", class: "Sensors", nouns: []string{"Pressure transmitter", "Temperature sensor", "Flow meter", "Level sensor", "Proximity switch"}, traits: []string{"Precision", "Hygienic", "Compact", "Intrinsically safe"}, attributes: []property{
		oneOf("Measuring range", "0 to 1 bar", "0 to 10 bar", "-1 to 25 bar", "-50 to 200 °C", "0.3 to 10 m/s"), measure("Accuracy", "% of span", 0.05, 1, 0.05, 2), oneOf("Output signal", "4 to 20 mA, HART", "0 to 10 V", "IO-Link 1.1", "Modbus RTU"), oneOf("Supply voltage", "10 to 30 V DC", "24 V DC", "loop powered"),
		measure("Response time", "ms", 1, 500, 1, 0), oneOf("Wetted material", "1.4435", "ceramic Al₂O₃", "Hastelloy C-276"), oneOf("Process connection", "G 1/2 A", "Tri-Clamp 1.5 in", "1/4 NPT", "M12 x 1"), measure("Long-term stability", "% per year", 0.05, 0.5, 0.05, 2),
		oneOf("Ambient temperature", "-20 to 70 °C", "-40 to 85 °C"), oneOf("Electrical connection", "M12, 4-pin", "M12, 5-pin", "cable gland M20")}},
	{prefix: "ME", class: "Medical Devices", nouns: []string{"Patient monitor", "Infusion pump", "Surgical display", "Vital-signs monitor"}, traits: []string{"Bedside", "Transport", "Neonatal", "Operating-room"}, attributes: []property{
		measure("Display size", "in", 8, 32, 1, 0), oneOf("Display resolution", "1280 x 800", "1920 x 1080", "3840 x 2160"), measure("Luminance", "cd/m²", 250, 1000, 50, 0), oneOf("Measured parameters", "ECG, SpO₂, NIBP", "ECG, SpO₂, NIBP, IBP, CO₂", "SpO₂, temperature"),
		measure("Battery life", "h", 1, 10, 0.5, 1), oneOf("Applied part", "type BF", "type CF", "defibrillation-proof CF"), oneOf("Device class", "IIa (MDR)", "IIb (MDR)"), oneOf("Standard", "IEC 60601-1, IEC 60601-2-49", "IEC 60601-1, IEC 60601-2-24"),
		measure("Alarm volume", "dB(A)", 45, 85, 5, 0), oneOf("Interface", "HL7 over LAN", "HL7, nurse call", "LAN, Wi-Fi 5"), measure("Flow rate", "ml/h", 0.1, 1200, 0.1, 1), oneOf("Sterilisation", "wipe disinfection", "housing IP22, wipe")}},
	{prefix: "CO", class: "Controls", nouns: []string{"Controller", "I/O module", "Operator panel", "Frequency converter"}, traits: []string{"Modular", "Safety", "Edge", "Compact"}, attributes: []property{
		measure("Digital inputs", "", 4, 64, 4, 0), measure("Digital outputs", "", 4, 64, 4, 0), measure("Analogue inputs", "", 0, 16, 2, 0), oneOf("Fieldbus", "PROFINET", "EtherCAT", "EtherNet/IP", "CANopen"), measure("Cycle time", "ms", 0.25, 10, 0.25, 2),
		measure("Programme memory", "MB", 1, 64, 1, 0), oneOf("Supply voltage", "24 V DC", "1 x 230 V, 50 Hz", "3 x 400 V, 50 Hz"), measure("Power consumption", "W", 3, 120, 1, 0), oneOf("Safety level", "none", "SIL 2, PL d", "SIL 3, PL e"), oneOf("Ambient temperature", "0 to 55 °C", "-25 to 60 °C")}},
	{prefix: "HE", class: "Heat Exchange", nouns: []string{"Plate heat exchanger", "Shell-and-tube cooler", "Fan coil", "Heat pump"}, traits: []string{"Brazed", "Gasketed", "Industrial", "Reversible"}, attributes: []property{
		measure("Heat output", "kW", 2, 900, 2, 0), measure("Exchange surface", "m²", 0.4, 120, 0.2, 1), oneOf("Plate material", "1.4401", "titanium", "254 SMO"), measure("Maximum pressure", "bar", 10, 45, 5, 0), oneOf("Refrigerant", "R32", "R290", "R513A", "none"),
		oneOf("Medium temperature", "-10 to 110 °C", "-160 to 200 °C"), measure("Pressure loss", "kPa", 5, 90, 1, 0), oneOf("Connection", "G 1", "DN 50", "DN 80"), measure("Coefficient of performance", "", 2.8, 5.6, 0.1, 1)}},
}
