package series

// Scalars is a copy without the sketches: it has no quantiles and counts nothing distinct.
func (a *Agg) Scalars() Agg {
	return Agg{Count: a.Count, Values: a.Values, Sum: a.Sum, Min: a.Min, Max: a.Max, Last: a.Last, LastAt: a.LastAt}
}
