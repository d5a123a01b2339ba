/**
 * The Lua scripts of the Redis log. Each runs alone on the server, so what it checks still holds when it writes; each reads every key that
 * it is about to write first, so that a key of a wrong type stops it before anything has changed. None uses local time.
 *
 * `WRONGTYPE` in an error of our own says the same as Redis's: a key under our prefix that we did not write.
 */

/** A number that a hash holds; 0 where there is none. */
const whole = `
local function whole(value)
  if not value then return 0 end
  local number = tonumber(value)
  if not number then error('WRONGTYPE a number is expected, not ' .. string.sub(value, 1, 40)) end
  return number
end
`;

/** Names this start of the server: after another one (or a failover) the newest writes may be missing. */
const run = `
local function run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end
`;

/**
 * Several appends of one process, one after another, each whole or not at all.
 * KEYS: writer, reduced, then stream and hash of each partition, then the payload of each reduced id in order.
 * ARGV: number of this flush, now (ms), age of marks (ms), marks at most, channel, how long the writer's key lives (ms), uncommitted
 *   entries as a multiple of lagMax, partitions; of each partition its name and lagMax; appends; of each append the number of ids, the ids,
 *   the number of entries, and of each entry the place of its partition in the list and its JSON.
 * Answers lines: marks that were dropped at the bound, then for each append `ok`, `reduced <place of the id>`, `full <place of the
 *   partition>` or `failed <why>`. A flush that was done before answers as it did then, one that a newer flush overtook `stale`.
 */
export const appendScript = `${whole}
local number = tonumber(ARGV[1])
local before = redis.call('GET', KEYS[1])
if before then
  local done, answer = string.match(before, '^(%d+)\\n(.*)$')
  if not done then error('WRONGTYPE the key of a writer') end
  if tonumber(done) == number then return answer end
  if tonumber(done) > number then return 'stale' end
end

local oldest = tonumber(ARGV[2]) - tonumber(ARGV[3])
local factor = tonumber(ARGV[7])
local partitions, names, touched = {}, {}, {}
local at = 9
for place = 1, tonumber(ARGV[8]) do
  partitions[place] = { stream = KEYS[1 + 2 * place], hash = KEYS[2 + 2 * place], name = ARGV[at], lagMax = tonumber(ARGV[at + 1]) }
  at = at + 2
end
local payload = 2 + 2 * #partitions

local function load(partition)
  if partition.last then return end
  local known = redis.call('HMGET', partition.hash, 'last', 'committed', 'position')
  local last = whole(known[1])
  partition.committed = whole(known[2])
  partition.position = math.max(whole(known[3]), partition.committed)
  if #redis.call('XREVRANGE', partition.stream, '+', '(' .. last .. '-0', 'COUNT', 1) > 0 then
    error('WRONGTYPE entries that are not ours in ' .. partition.stream)
  end
  partition.last = last
end

local function check(ids, entries)
  for place, id in ipairs(ids) do
    local marked = redis.call('ZSCORE', KEYS[2], id)
    if marked and tonumber(marked) >= oldest then return 'reduced ' .. (place - 1) end
  end
  for _, entry in ipairs(entries) do
    local partition = partitions[entry.place]
    load(partition)
    local isFull = partition.last - partition.position >= partition.lagMax
    if isFull or partition.last - partition.committed >= partition.lagMax * factor then return 'full ' .. (entry.place - 1) end
  end
  return 'ok'
end

local function write(ids, entries, payloads)
  local moved = {}
  for _, entry in ipairs(entries) do
    local partition = partitions[entry.place]
    partition.last = partition.last + 1
    redis.call('XADD', partition.stream, partition.last .. '-0', 'json', entry.json)
    moved[entry.place] = partition
  end
  for _, partition in pairs(moved) do
    redis.call('HSET', partition.hash, 'last', partition.last)
    if not touched[partition.name] then
      touched[partition.name] = true
      names[#names + 1] = partition.name
    end
  end
  for place, id in ipairs(ids) do
    redis.call('ZADD', KEYS[2], ARGV[2], id)
    redis.call('UNLINK', payloads[place])
  end
end

local answers, marked, done = {}, false, false
local appends = tonumber(ARGV[at])
at = at + 1
for append = 1, appends do
  local ids, payloads, entries = {}, {}, {}
  local count = tonumber(ARGV[at])
  for place = 1, count do
    ids[place] = ARGV[at + place]
    payloads[place] = KEYS[payload + place]
  end
  payload = payload + count
  at = at + count + 1
  count = tonumber(ARGV[at])
  for place = 1, count do entries[place] = { place = tonumber(ARGV[at + 2 * place - 1]) + 1, json = ARGV[at + 2 * place] } end
  at = at + 2 * count + 1
  local isSound, verdict = pcall(check, ids, entries)
  if not isSound then
    if type(verdict) == 'table' then verdict = verdict.err end
    verdict = 'failed ' .. string.gsub(tostring(verdict), '\\n', ' ')
  end
  if verdict == 'ok' then
    write(ids, entries, payloads)
    done = true
    marked = marked or #ids > 0
  end
  answers[append] = verdict
end

local dropped = 0
if marked then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. oldest)
  dropped = math.max(0, redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4]))
  if dropped > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, dropped - 1) end
end
local answer = dropped .. '\\n' .. table.concat(answers, '\\n')
if done then redis.call('SET', KEYS[1], ARGV[1] .. '\\n' .. answer, 'PX', ARGV[6]) end
if #names > 0 then redis.call('PUBLISH', ARGV[5], table.concat(names, ' ')) end
return answer
`;

/**
 * Takes the lease of a partition when it is free or the caller's own.
 * KEYS: lease, hash, chunks. ARGV: member, lease (ms), channel, name of the partition.
 * Answers { 0, holder } or { 1, fence, committed, run of the server, { chunk name, bytes, … } }.
 */
export const ownScript = `${whole}${run}
local holder = redis.call('GET', KEYS[1])
if holder and redis.call('PTTL', KEYS[1]) == -1 then error('WRONGTYPE a lease without an end in ' .. KEYS[1]) end
if holder and holder ~= ARGV[1] then return { 0, holder } end
local known = redis.call('HMGET', KEYS[2], 'fence', 'committed')
local fence = whole(known[1]) + 1
local committed = whole(known[2])
local chunks = redis.call('HGETALL', KEYS[3])
redis.call('HSET', KEYS[2], 'fence', fence, 'owner', ARGV[1], 'position', committed)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return { 1, fence, committed, run(), chunks }
`;

/**
 * Keeps the leases of the partitions that a process owns; one that ran out is taken again while the fence is still the owner's.
 * KEYS: lease and hash of each partition. ARGV: member, lease (ms), then fence and run of each partition.
 * Answers for each partition 1 (kept), or 0 (lost to another owner) or -1 (the server was started again).
 */
export const renewScript = `${whole}${run}
local current = run()
local answers = {}
for place = 1, #KEYS / 2 do
  local lease, hash = KEYS[2 * place - 1], KEYS[2 * place]
  local fence = whole(redis.call('HGET', hash, 'fence'))
  local holder = redis.call('GET', lease)
  if ARGV[2 + 2 * place] ~= current then
    answers[place] = -1
  elseif fence ~= tonumber(ARGV[1 + 2 * place]) or (holder and holder ~= ARGV[1]) then
    answers[place] = 0
  else
    redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
    answers[place] = 1
  end
end
return answers
`;

/**
 * Entries after an offset, and that the reader has come so far.
 * KEYS: hash, stream. ARGV: fence, run, offset, entries at most, bytes at which no more are added.
 * Answers { 1, committed, entries as XRANGE has them }, or { 0, newest fence } or { -1 } when the server was started again.
 */
export const readScript = `${whole}${run}
local known = redis.call('HMGET', KEYS[1], 'fence', 'committed', 'position')
if run() ~= ARGV[2] then return { -1 } end
if whole(known[1]) ~= tonumber(ARGV[1]) then return { 0, whole(known[1]) } end
local after, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, bytes, from = {}, 0, ARGV[3] .. '-0'
while #entries < count and bytes < tonumber(ARGV[5]) do
  local slice = redis.call('XRANGE', KEYS[2], '(' .. from, '+', 'COUNT', math.min(64, count - #entries))
  if #slice == 0 then break end
  for _, entry in ipairs(slice) do
    entries[#entries + 1] = entry
    bytes = bytes + string.len(entry[2][2])
    from = entry[1]
  end
end
if after > whole(known[3]) then redis.call('HSET', KEYS[1], 'position', ARGV[3]) end
return { 1, whole(known[2]), entries }
`;

/**
 * Stores chunks and offset of the owner in one step, trims what lies before, and keeps the lease.
 * KEYS: lease, hash, stream, chunks. ARGV: fence, run, offset, member, lease (ms), then name, `set` or `del`, and bytes of each chunk.
 * Answers { 1 }, { 0, newest fence }, { -1 } when the server was started again, or { 2, committed, last } for an offset outside of those.
 */
export const commitScript = `${whole}${run}
local known = redis.call('HMGET', KEYS[2], 'fence', 'committed', 'last')
if run() ~= ARGV[2] then return { -1 } end
if whole(known[1]) ~= tonumber(ARGV[1]) then return { 0, whole(known[1]) } end
local offset = tonumber(ARGV[3])
if offset < whole(known[2]) or offset > whole(known[3]) then return { 2, whole(known[2]), whole(known[3]) } end
local holder = redis.call('GET', KEYS[1])
redis.call('XLEN', KEYS[3])
redis.call('HLEN', KEYS[4])
redis.call('HSET', KEYS[2], 'committed', ARGV[3])
for at = 6, #ARGV, 3 do
  if ARGV[at + 1] == 'del' then redis.call('HDEL', KEYS[4], ARGV[at]) else redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 2]) end
end
redis.call('XTRIM', KEYS[3], 'MINID', '=', (offset + 1) .. '-0')
if not holder or holder == ARGV[4] then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
return { 1 }
`;

/**
 * Gives a lease back when it is still the owner's.
 * KEYS: lease, hash. ARGV: fence, member.
 */
export const releaseScript = `${whole}
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
if whole(redis.call('HGET', KEYS[2], 'fence')) ~= tonumber(ARGV[1]) then return 0 end
return redis.call('DEL', KEYS[1])
`;

/**
 * Says that a member is there, and drops those that have not been heard of.
 * KEYS: members. ARGV: member, silence after which one is gone (ms).
 * Answers { member, when it joined, … }: microseconds of the server's clock, as text, the member itself included.
 */
export const heardScript = `
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local members, joined = {}, now
local known = redis.call('HGETALL', KEYS[1])
for at = 1, #known, 2 do
  local since, heard = string.match(known[at + 1], '^(%d+) (%d+)$')
  if not since then error('WRONGTYPE a member that is not ours in ' .. KEYS[1]) end
  if math.abs(tonumber(now) - tonumber(heard)) > tonumber(ARGV[2]) * 1000 then
    redis.call('HDEL', KEYS[1], known[at])
  elseif known[at] == ARGV[1] then
    joined = since
  else
    members[#members + 1] = known[at]
    members[#members + 1] = since
  end
end
redis.call('HSET', KEYS[1], ARGV[1], joined .. ' ' .. now)
members[#members + 1] = ARGV[1]
members[#members + 1] = joined
return members
`;
