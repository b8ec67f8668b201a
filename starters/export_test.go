package starters

// InFlight tells tests how many starts may be under way.
const InFlight = inFlight
