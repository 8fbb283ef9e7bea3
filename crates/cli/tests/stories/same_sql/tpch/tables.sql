The eight tables of TPC-H at scale factor 0.1: the sizes, keys and domains of its specification, values from hashes of the
keys, so that every run makes the same rows.

--# A database
CREATE DATABASE tpch

--# It is used
USE tpch

--# A number below n
CREATE TEMPORARY FUNCTION pick(key BIGINT, salt STRING, n INT) RETURNS INT
RETURN INT(pmod(xxhash64(key, salt), n))

--# One of several words
CREATE TEMPORARY FUNCTION one_of(key BIGINT, salt STRING, words STRING) RETURNS STRING
RETURN get(split(words, '[|]'), pick(key, salt, size(split(words, '[|]'))))

--# An amount of money, in hundredths
CREATE TEMPORARY FUNCTION money(hundredths BIGINT) RETURNS DECIMAL(15, 2)
RETURN CAST(CAST(hundredths AS DECIMAL(15, 0)) / 100 AS DECIMAL(15, 2))

--# A telephone
CREATE TEMPORARY FUNCTION phone(key BIGINT, nation INT) RETURNS STRING
RETURN concat_ws('-', nation + 10, pick(key, 'p1', 900) + 100, pick(key, 'p2', 900) + 100, pick(key, 'p3', 9000) + 1000)

--# Some words
CREATE TEMPORARY FUNCTION words(key BIGINT, salt STRING) RETURNS STRING
RETURN concat_ws(' ',
  one_of(key, salt || '1', 'furiously|quickly|carefully|slyly|blithely|ruthlessly|daringly'),
  one_of(key, salt || '2', 'final|ironic|regular|express|pending|bold|silent|even'),
  one_of(key, salt || '3', 'deposits|packages|accounts|requests|theodolites|instructions|foxes|pinto beans'),
  one_of(key, salt || '4', 'sleep|haggle|nag|wake|cajole|integrate|boost|are'))

--# The retail price of a part
CREATE TEMPORARY FUNCTION retail(part BIGINT) RETURNS BIGINT
RETURN 90000 + (part div 10) % 20001 + 100 * (part % 1000)

--# The nth of the four suppliers of a part
CREATE TEMPORARY FUNCTION supplier_of(part BIGINT, nth INT) RETURNS BIGINT
RETURN (part + nth * (250 + (part - 1) div 1000)) % 1000 + 1

--# The key of the nth order: only 8 of 32 are used
CREATE TEMPORARY FUNCTION order_key(n BIGINT) RETURNS BIGINT
RETURN n div 8 * 32 + n % 8

--# The day of an order
CREATE TEMPORARY FUNCTION ordered_on(orderkey BIGINT) RETURNS DATE
RETURN date_add(DATE'1992-01-01', pick(orderkey, 'o_orderdate', 2406))

--# region: 5 rows
CREATE TABLE region USING parquet AS
SELECT INT(pos) AS r_regionkey, col AS r_name, words(pos, 'r_comment') AS r_comment
FROM posexplode(split('AFRICA|AMERICA|ASIA|EUROPE|MIDDLE EAST', '[|]'))

--# nation: 25 rows
CREATE TABLE nation USING parquet AS
SELECT INT(pos) AS n_nationkey, split(col, ':')[0] AS n_name, INT(split(col, ':')[1]) AS n_regionkey,
       words(pos, 'n_comment') AS n_comment
FROM posexplode(split(concat(
  'ALGERIA:0|ARGENTINA:1|BRAZIL:1|CANADA:1|EGYPT:4|ETHIOPIA:0|FRANCE:3|GERMANY:3|INDIA:2|INDONESIA:2|IRAN:4|IRAQ:4|',
  'JAPAN:2|JORDAN:4|KENYA:0|MOROCCO:0|MOZAMBIQUE:0|PERU:1|CHINA:2|ROMANIA:3|SAUDI ARABIA:4|VIETNAM:2|RUSSIA:3|',
  'UNITED KINGDOM:3|UNITED STATES:1'), '[|]'))

--# supplier: 1,000 rows
CREATE TABLE supplier USING parquet AS
SELECT id AS s_suppkey, format_string('Supplier#%09d', id) AS s_name, substr(sha1(string(id)), 1, 25) AS s_address,
       pick(id, 's_nationkey', 25) AS s_nationkey, phone(id, pick(id, 's_nationkey', 25)) AS s_phone,
       money(pick(id, 's_acctbal', 1099999) - 99999) AS s_acctbal,
       CASE id % 200 WHEN 7 THEN 'slyly Customer final Complaints' WHEN 107 THEN 'bold Customer even Recommends'
         ELSE words(id, 's_comment') END AS s_comment
FROM range(1, 1001)

--# part: 20,000 rows
CREATE TABLE part USING parquet AS
SELECT id AS p_partkey,
       concat_ws(' ', transform(sequence(1, 5), n -> get(colors, INT(pmod(xxhash64(id, n), size(colors)))))) AS p_name,
       'Manufacturer#' || (pick(id, 'p_mfgr', 5) + 1) AS p_mfgr,
       'Brand#' || (pick(id, 'p_mfgr', 5) + 1) || (pick(id, 'p_brand', 5) + 1) AS p_brand,
       concat_ws(' ', one_of(id, 'p_type1', 'STANDARD|SMALL|MEDIUM|LARGE|ECONOMY|PROMO'),
         one_of(id, 'p_type2', 'ANODIZED|BURNISHED|PLATED|POLISHED|BRUSHED'),
         one_of(id, 'p_type3', 'TIN|NICKEL|BRASS|STEEL|COPPER')) AS p_type,
       pick(id, 'p_size', 50) + 1 AS p_size,
       concat_ws(' ', one_of(id, 'p_container1', 'SM|LG|MED|JUMBO|WRAP'),
         one_of(id, 'p_container2', 'CASE|BOX|BAG|JAR|PKG|PACK|CAN|DRUM')) AS p_container,
       money(retail(id)) AS p_retailprice, words(id, 'p_comment') AS p_comment
FROM range(1, 20001), (SELECT split(concat(
  'almond|antique|aquamarine|azure|beige|bisque|black|blanched|blue|blush|brown|burlywood|burnished|chartreuse|',
  'chiffon|chocolate|coral|cornflower|cornsilk|cream|cyan|dark|deep|dim|dodger|drab|firebrick|floral|forest|',
  'frosted|gainsboro|ghost|goldenrod|green|grey|honeydew|hot|indian|ivory|khaki|lace|lavender|lawn|lemon|light|',
  'lime|linen|magenta|maroon|medium|metallic|midnight|mint|misty|moccasin|navajo|navy|olive|orange|orchid|pale|',
  'papaya|peach|peru|pink|plum|powder|puff|purple|red|rose|rosy|royal|saddle|salmon|sandy|seashell|sienna|sky|',
  'slate|smoke|snow|spring|steel|tan|thistle|tomato|turquoise|violet|wheat|white|yellow'), '[|]') AS colors)

--# partsupp: 80,000 rows
CREATE TABLE partsupp USING parquet AS
SELECT id AS ps_partkey, supplier_of(id, nth) AS ps_suppkey, pick(id * 4 + nth, 'ps_availqty', 9999) + 1 AS ps_availqty,
       money(pick(id * 4 + nth, 'ps_supplycost', 99901) + 100) AS ps_supplycost, words(id * 4 + nth, 'ps_comment') AS ps_comment
FROM (SELECT id, explode(sequence(0, 3)) AS nth FROM range(1, 20001))

--# customer: 15,000 rows
CREATE TABLE customer USING parquet AS
SELECT id AS c_custkey, format_string('Customer#%09d', id) AS c_name, substr(sha1(string(-id)), 1, 25) AS c_address,
       pick(id, 'c_nationkey', 25) AS c_nationkey, phone(-id, pick(id, 'c_nationkey', 25)) AS c_phone,
       money(pick(id, 'c_acctbal', 1099999) - 99999) AS c_acctbal,
       one_of(id, 'c_mktsegment', 'AUTOMOBILE|BUILDING|FURNITURE|MACHINERY|HOUSEHOLD') AS c_mktsegment,
       words(id, 'c_comment') AS c_comment
FROM range(1, 15001)

--# lineitem: about 600,000 rows
CREATE TABLE lineitem USING parquet AS
SELECT l_orderkey, l_partkey, supplier_of(l_partkey, pick(key, 'l_suppkey', 4)) AS l_suppkey, l_linenumber,
       CAST(quantity AS DECIMAL(15, 2)) AS l_quantity, money(quantity * retail(l_partkey)) AS l_extendedprice,
       money(pick(key, 'l_discount', 11)) AS l_discount, money(pick(key, 'l_tax', 9)) AS l_tax,
       CASE WHEN received > DATE'1995-06-17' THEN 'N' ELSE one_of(key, 'l_returnflag', 'R|A') END AS l_returnflag,
       IF(shipped > DATE'1995-06-17', 'O', 'F') AS l_linestatus, shipped AS l_shipdate,
       date_add(ordered_on(l_orderkey), 30 + pick(key, 'l_commitdate', 61)) AS l_commitdate, received AS l_receiptdate,
       one_of(key, 'l_shipinstruct', 'DELIVER IN PERSON|COLLECT COD|NONE|TAKE BACK RETURN') AS l_shipinstruct,
       one_of(key, 'l_shipmode', 'REG AIR|AIR|RAIL|SHIP|TRUCK|MAIL|FOB') AS l_shipmode, words(key, 'l_comment') AS l_comment
FROM (
  SELECT *, BIGINT(pick(key, 'l_partkey', 20000) + 1) AS l_partkey, pick(key, 'l_quantity', 50) + 1 AS quantity,
         date_add(shipped, 1 + pick(key, 'l_receiptdate', 30)) AS received
  FROM (
    SELECT *, l_orderkey * 8 + l_linenumber AS key,
           date_add(ordered_on(l_orderkey), 1 + pick(l_orderkey * 8 + l_linenumber, 'l_shipdate', 121)) AS shipped
    FROM (
      SELECT l_orderkey, explode(sequence(1, lines)) AS l_linenumber
      FROM (SELECT order_key(id) AS l_orderkey, 1 + pick(order_key(id), 'lines', 7) AS lines FROM range(1, 150001))
    )
  )
)

--# orders: 150,000 rows; every third customer has none
CREATE TABLE orders USING parquet AS
SELECT o_orderkey, BIGINT(customer div 2 * 3 + customer % 2 + 1) AS o_custkey,
       CASE open_lines WHEN 0 THEN 'F' WHEN lines THEN 'O' ELSE 'P' END AS o_orderstatus, o_totalprice,
       ordered_on(o_orderkey) AS o_orderdate,
       one_of(o_orderkey, 'o_orderpriority', '1-URGENT|2-HIGH|3-MEDIUM|4-NOT SPECIFIED|5-LOW') AS o_orderpriority,
       format_string('Clerk#%09d', pick(o_orderkey, 'o_clerk', 100) + 1) AS o_clerk, 0 AS o_shippriority,
       IF(pick(o_orderkey, 'special', 100) = 0, 'slyly special even requests', words(o_orderkey, 'o_comment')) AS o_comment
FROM (
  SELECT l_orderkey AS o_orderkey, count(*) AS lines, count_if(l_linestatus = 'O') AS open_lines,
         pick(l_orderkey, 'o_custkey', 10000) AS customer,
         CAST(sum(l_extendedprice * (1 + l_tax) * (1 - l_discount)) AS DECIMAL(15, 2)) AS o_totalprice
  FROM lineitem GROUP BY l_orderkey
)
