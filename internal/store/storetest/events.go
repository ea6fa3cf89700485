package storetest

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
)

// Events checks an implementation of store.Events. Open gives the store kept in dir; opened again with the same dir, after Close, it
// must be the same store. One that has a method Compact(context.Context) (int, error) has it called where answers must
// not change by it.
func Events(t *testing.T, open func(t *testing.T, dir string) store.Events) {
	tests := map[string]func(t *testing.T, b *bench){
		"a partition that never committed is at the zero offset":                aPartitionBeginsAtZero,
		"a commit moves the offset and counts its revision":                     aCommitMovesTheOffset,
		"of two commits from the same offset exactly one takes effect":          oneOfTwoCommitsWins,
		"of many concurrent commits from the same offset exactly one wins":      oneOfManyConcurrentCommitsWins,
		"a commit from another incarnation, sequence or revision is fenced":     anyDifferentOffsetIsFenced,
		"a commit on a clock tick keeps the position":                           aTickKeepsThePosition,
		"a sequence may start again in a new incarnation":                       aNewIncarnationStartsAgain,
		"a commit that is refused writes nothing":                               aRefusedCommitWritesNothing,
		"what was committed is there after a restart":                           commitsSurviveARestart,
		"times keep their nanoseconds":                                          timesKeepNanoseconds,
		"data and attributes come back byte for byte":                           dataComesBackByteForByte,
		"an event that has no data is told from one with null":                  noDataIsNotNull,
		"pages go from newest to oldest without gap or repeat":                  pagesHaveNoGapAndNoRepeat,
		"a page keeps to its filter":                                            pagesKeepToTheirFilter,
		"a page finds few events far apart":                                     pagesFindFewEventsFarApart,
		"an event is found by source and id, the first one of several":          anEventIsFoundBySourceAndID,
		"a scan gives matches in log order between its bounds":                  scansGoInLogOrder,
		"a scan of many messages gives each event once":                         scansOfManyMessages,
		"a callback's error stops a read and is returned as it is":              callbackErrorsStopReads,
		"identities are given since a time, without those the server made":      identitiesSinceATime,
		"partial rollups merge to what merging them in memory gives":            rollupsMergeLikeInMemory,
		"rollups without sketches have the same scalars":                        scalarsAreTheSame,
		"rollups are restricted by labels":                                      rollupsAreRestricted,
		"rollups keep the labels that are grouped by, in that order":            rollupsAreGrouped,
		"rollups merge into wider buckets that are aligned to the epoch":        bucketsAreAligned,
		"rollups of one step, metric or range are not mixed with others":        rollupsAreNotMixed,
		"rollups of observations without numbers have none":                     rollupsWithoutNumbers,
		"labels may be any text":                                                labelsMayBeAnyText,
		"rollups of a long time come in order":                                  rollupsOfALongTime,
		"compaction changes no answer":                                          compactionChangesNothing,
		"compaction concurrent with commits loses nothing":                      compactionWhileCommitting,
		"fills are replaced by tenant and metric":                               fillsAreReplaced,
		"states are replaced by rule and group, and removed by ok":              statesAreReplacedAndRemoved,
		"the last of several states of one group in a commit holds":             theLastStateHolds,
		"quarantined events are kept until they are released":                   quarantineIsKeptUntilReleased,
		"a firing state keeps how its incident began":                           aStateKeepsItsIncident,
		"transitions are numbered in order and added once":                      transitionsAreNumberedAndAddedOnce,
		"a worst value that is no number stops no commit":                       worstMayBeAnything,
		"a dry run writes nothing and says what a commit would":                 aDryRunWritesNothing,
		"transitions come back as they were":                                    transitionsComeBack,
		"an incident is put together from its transitions":                      incidentsArePutTogether,
		"incidents are filtered and paged, newest first":                        incidentsAreFilteredAndPaged,
		"events and bytes are counted by tenant and hour of receipt":            usageIsCounted,
		"what is not committed is not counted, and nothing twice":               usageFollowsCommits,
		"no tenant sees anything of another":                                    tenantsAreIsolated,
		"a context that has ended stops every call":                             anEndedContextStops,
		"a context that ends stops a read under way":                            anEndingContextStopsAReadUnderWay,
		"a commit whose context has ended writes nothing":                       anEndedContextCommitsNothing,
		"after Close every call says that the store is closed":                  closedIsClosed,
		"commits of different partitions and readers do not disturb each other": concurrentPartitionsAndReaders,
		"a reader sees whole commits only":                                      readersSeeWholeCommits,
		"what was asked for in vain is found once it is there":                  emptyIsNotForEver,
		"a callback may call the store":                                         callbacksMayCallTheStore,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newBench(t, open)) })
	}
}
