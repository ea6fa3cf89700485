-- One limit of one tenant: bucket.take of internal/limit, for all processes. The key holds "USED AT".
-- ARGV: events a second, events to charge in any case, events to charge if there is room for one, and in tests the time.
local rate, more, cost, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local used, at = 0, now
local kept = redis.call('GET', KEYS[1])
if kept then
  local u, a = string.match(kept, '^(%S+) (%S+)$')
  used, at = tonumber(u) or 0, tonumber(a) or now
end
used = math.max(0, used - math.max(0, now - at) * rate / 1000000)
used = math.max(0, used + more)
local allowed = used <= math.max(rate, 1) - 1
if allowed then
  used = used + cost
end
-- When nothing is used up any more, there is nothing to know. A limit of next to nothing is forgotten after 30 days.
local keep = math.min(used / rate * 1000 + 1000, 2592000000)
redis.call('SET', KEYS[1], string.format('%.17g %.17g', used, now), 'PX', string.format('%d', keep))
return {allowed and 1 or 0, string.format('%.17g', used)}
