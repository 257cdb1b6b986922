"""What runs inside Redis, each script as a whole, so that nobody sees half of it.

Keys, behind the prefix: `history:CHANNEL`, a hash of a history's epoch, newest offset, bytes kept and
the server's run that it began in; `stream:CHANNEL`, its messages, whose entry ids are their offsets;
`sent:HUB`, the number of the last message of a hub that was carried out. They are made of arguments,
so all must be on one server: a cluster needs a backplane for each of its shards.
"""

_HISTORY = """
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- The keys of a channel's history, which begins anew in another run of the server (run '' is any), and
-- lives so many seconds even if nothing is ever sent to it.
local function open(channel, run, fresh, life)
  local meta, stream = prefix .. ':history:' .. channel, prefix .. ':stream:' .. channel
  local known = redis.call('HMGET', meta, 'epoch', 'run')
  if not known[1] or (run ~= '' and known[2] ~= run) then
    redis.call('DEL', meta, stream)
    redis.call('HSET', meta, 'epoch', fresh, 'run', run, 'offset', 0, 'bytes', 0)
    redis.call('EXPIRE', meta, life)
  end
  return meta, stream
end

-- Throw out what is beyond the bounds; returns how many entries are left.
local function trim(meta, stream, messages, bytes, seconds)
  local count = redis.call('XLEN', stream)
  local size = tonumber(redis.call('HGET', meta, 'bytes'))
  while count > 0 do
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local body, at = oldest[2][2], tonumber(oldest[2][4])
    if count <= messages and size <= bytes and not (seconds and at < now - seconds) then break end
    redis.call('XDEL', stream, oldest[1])
    count, size = count - 1, size - #body
    redis.call('HSET', meta, 'bytes', size)
  end
  return count
end
"""

SHARE = (
    _HISTORY
    + """
-- prefix, hub, number of the first message, run, fresh epoch, seconds that keys live; then for each
-- message channel, body, and bounds of its history: messages ('' without one), bytes, seconds (or '')
local hub, number, run, fresh, life = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local sent_key = prefix .. ':sent:' .. hub
local sent = tonumber(redis.call('GET', sent_key) or '0')

for i = 7, #ARGV, 5 do
  if number > sent then  -- else an earlier attempt, whose answer was lost, has carried it out
    local channel, body, place = ARGV[i], ARGV[i + 1], '- 0'
    local messages = tonumber(ARGV[i + 2])
    if messages then
      local meta, stream = open(channel, run, fresh, life)
      local offset = string.format('%.0f', redis.call('HINCRBY', meta, 'offset', 1))
      redis.call('XADD', stream, offset .. '-1', 'body', body, 'at', string.format('%.6f', now))
      redis.call('HINCRBY', meta, 'bytes', #body)
      trim(meta, stream, messages, tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))
      redis.call('EXPIRE', meta, life)
      redis.call('EXPIRE', stream, life)
      place = redis.call('HGET', meta, 'epoch') .. ' ' .. offset
    end
    local head = hub .. ' ' .. string.format('%.0f', number) .. ' ' .. place
    redis.call('PUBLISH', prefix .. ':' .. channel, head .. '\\n' .. body)
  end
  number = number + 1
end
redis.call('SET', sent_key, string.format('%.0f', math.max(number - 1, sent)), 'EX', 86400)
return redis.status_reply('OK')
"""
)

READ = (
    _HISTORY
    + """
-- prefix, channel, run, fresh epoch, seconds that keys live, bounds (messages, bytes, seconds or ''),
-- then the position after which to read (epoch and offset, or '' and ''), and how many at most
local channel, run, fresh, life, after = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[10])
local meta, stream = open(channel, run, fresh, life)
if after and ARGV[9] == redis.call('HGET', meta, 'epoch')
    and after > tonumber(redis.call('HGET', meta, 'offset')) then
  redis.call('DEL', meta)  -- it has forgotten what it told: offsets must not be given twice
  meta, stream = open(channel, run, fresh, life)
end
local count = trim(meta, stream, tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]))
local epoch, offset = unpack(redis.call('HMGET', meta, 'epoch', 'offset'))
local answer = {epoch, offset, string.format('%.0f', tonumber(offset) - count)}
if after then
  local first = string.format('%.0f', after + 1)
  for _, entry in ipairs(redis.call('XRANGE', stream, first, '+', 'COUNT', ARGV[11])) do
    table.insert(answer, entry[1])
    table.insert(answer, entry[2][2])
  end
end
return answer
"""
)
