/* Numbers: scanning, reading and printing, without the locale that strtod and printf look at.
 *
 * Reading is Eisel and Lemire's method: the digits as a 64-bit integer times a 128-bit power of ten give the
 * double (Mushtak and Lemire, "Fast number parsing without fallback", show that 128 bits always suffice).
 * Digits beyond the 19th are cut off; if that can matter, the exact value is compared with the midpoint of
 * the two candidates. Printing is Giulietti's Schubfach: the shortest decimal inside the rounding interval,
 * nearest to the value. */
#include "toon/number.h"

#include "base/hash.h"
#include "toon/pow10.h"
#include "toon/scan.h"

#define MANTISSA_BITS 52
#define HIDDEN_BIT (1ull << MANTISSA_BITS)
#define INFINITE_BITS (0x7FFull << MANTISSA_BITS)

/* Eight bytes that are all digits. */
static inline bool are_digits(uint64_t eight) {
  return ((eight & 0xF0F0F0F0F0F0F0F0u) | ((eight + 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) >> 4) ==
         0x3333333333333333u;
}
/* Their value, the first byte leading. */
static inline uint64_t value_of_digits(uint64_t eight) {
  eight -= 0x3030303030303030u;
  eight = eight * 10 + (eight >> 8); /* pairs in every other byte */
  return ((eight & 0x000000FF000000FFu) * 0x000F424000000064u +
          (eight >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u) >>
         32;
}
size_t toon_number_scan(const uint8_t *p, const uint8_t *end, toon_number_form *form) {
  const uint8_t *start = p;
  bool negative = p < end && *p == '-';
  p += negative;
  const uint8_t *whole = p;
  p = toon_skip_digits(p, end, end);
  size_t whole_len = (size_t)(p - whole);
  if (whole_len == 0 || (whole_len > 1 && *whole == '0')) return 0;
  bool zero = *whole == '0';
  *form = whole_len > 308 || (negative && zero) ? TOON_NUMBER_OTHER : TOON_NUMBER_CANONICAL;
  if (p == end) return (size_t)(p - start);
  if (*p == '.') {
    const uint8_t *fraction = ++p;
    p = toon_skip_digits(p, end, end);
    size_t fraction_len = (size_t)(p - fraction);
    if (fraction_len == 0) return 0;
    size_t digits = whole_len + fraction_len;
    if (zero) {
      size_t zeros = 0;
      while (zeros < fraction_len && fraction[zeros] == '0') zeros++;
      digits = zeros > 5 ? SIZE_MAX : fraction_len - zeros;
    }
    *form = p[-1] == '0' || digits == SIZE_MAX || whole_len > 21 ? TOON_NUMBER_OTHER
            : digits > 15                                        ? TOON_NUMBER_DIGITS
                                                                 : TOON_NUMBER_CANONICAL;
  }
  if (p < end && (*p | 0x20) == 'e') {
    p++;
    if (p < end && (*p == '+' || *p == '-')) p++;
    if (p == end || !toon_is_digit(*p)) return 0;
    while (p < end && toon_is_digit(*p)) p++;
    *form = TOON_NUMBER_OTHER;
  }
  return (size_t)(p - start);
}

/* ---- reading ---- */

static double from_bits(uint64_t bits) {
  double value;
  memcpy(&value, &bits, 8);
  return value;
}

static uint64_t to_bits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  return bits;
}

/* The bits of the double nearest to digits * 10^exponent. */
static uint64_t nearest(uint64_t digits, int64_t exponent) {
  if (digits == 0 || exponent < TOON_POW10_MIN) return 0;
  if (exponent > 308) return INFINITE_BITS;
  const uint64_t *power = toon_pow10[exponent - TOON_POW10_MIN];
  int zeros = __builtin_clzll(digits);
  uint64_t w = digits << zeros;
  unsigned __int128 first = (unsigned __int128)w * power[0];
  uint64_t high = (uint64_t)(first >> 64), low = (uint64_t)first;
  if ((high & 0x1FF) == 0x1FF) { /* the bits that rounding looks at may yet change */
    /* Powers of negative exponents are rounded up here, as the proof wants them. */
    unsigned __int128 second = (unsigned __int128)w * (power[1] + (exponent < 0));
    low += (uint64_t)(second >> 64);
    if (low < (uint64_t)(second >> 64)) high++;
  }
  int upper = (int)(high >> 63);
  uint64_t mantissa = high >> (upper + 64 - MANTISSA_BITS - 3);
  int power2 = (int)((217706 * exponent) >> 16) + 63 + upper - zeros + 1023;
  if (power2 <= 0) { /* subnormal */
    if (-power2 + 1 >= 64) return 0;
    mantissa >>= -power2 + 1;
    mantissa += mantissa & 1;
    return mantissa >> 1; /* a carry into the hidden bit is the right exponent by itself */
  }
  if (low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 &&
      mantissa << (upper + 64 - MANTISSA_BITS - 3) == high)
    mantissa &= ~1ull; /* exactly halfway: to even */
  mantissa += mantissa & 1;
  mantissa >>= 1;
  if (mantissa >= HIDDEN_BIT * 2) {
    mantissa = HIDDEN_BIT;
    power2++;
  }
  if (power2 >= 0x7FF) return INFINITE_BITS;
  return (uint64_t)power2 << MANTISSA_BITS | (mantissa & ~HIDDEN_BIT);
}

/* A number too long for 64 bits, exactly. 800 decimal digits times 2^1100, or 2^55 times 10^1150, fit. */
typedef struct big {
  uint32_t limb[160];
  unsigned count;
} big;

static void big_multiply_add(big *b, uint32_t factor, uint32_t carry) {
  for (unsigned i = 0; i < b->count; i++) {
    uint64_t product = (uint64_t)b->limb[i] * factor + carry;
    b->limb[i] = (uint32_t)product;
    carry = (uint32_t)(product >> 32);
  }
  if (carry && b->count < 160) b->limb[b->count++] = carry;
}
static void big_times_ten_to(big *b, int64_t n) {
  for (; n >= 9; n -= 9) big_multiply_add(b, 1000000000, 0);
  for (; n > 0; n--) big_multiply_add(b, 10, 0);
}
static void big_shift_left(big *b, int64_t n) {
  for (; n >= 31; n -= 31) big_multiply_add(b, 1u << 31, 0);
  if (n > 0) big_multiply_add(b, 1u << n, 0);
}
static int big_compare(const big *a, const big *b) {
  if (a->count != b->count) return a->count < b->count ? -1 : 1;
  for (unsigned i = a->count; i-- > 0;)
    if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
  return 0;
}

#define DIGITS_KEPT 800 /* more than 767 digits never decide, except by not being all zero */

/* Which of two neighbouring doubles is nearest to the decimal whose significant digits begin at p (they may
 * have one point among them) and whose last kept digit counts 10^exponent. */
static uint64_t nearest_of(uint64_t below, const uint8_t *p, size_t count, int64_t exponent, bool more) {
  big left = {.count = 0}, right = {.count = 0};
  uint32_t chunk = 0, scale = 1;
  for (; count; p++) {
    if (*p == '.') continue;
    chunk = chunk * 10 + (uint32_t)(*p - '0');
    scale *= 10;
    if (--count == 0 || scale == 1000000000) {
      big_multiply_add(&left, scale, chunk);
      chunk = 0;
      scale = 1;
    }
  }
  uint64_t mantissa = below & (HIDDEN_BIT - 1);
  int64_t power2 = (int64_t)(below >> MANTISSA_BITS);
  if (power2)
    mantissa |= HIDDEN_BIT;
  else
    power2 = 1;
  uint64_t middle = mantissa * 2 + 1;
  power2 -= 1023 + MANTISSA_BITS + 1;
  right.limb[0] = (uint32_t)middle;
  right.limb[1] = (uint32_t)(middle >> 32);
  right.count = right.limb[1] ? 2 : 1;
  if (exponent >= 0)
    big_times_ten_to(&left, exponent);
  else
    big_times_ten_to(&right, -exponent);
  if (power2 >= 0)
    big_shift_left(&right, power2);
  else
    big_shift_left(&left, -power2);
  int order = big_compare(&left, &right);
  if (order == 0 && more) order = 1;
  return order > 0 || (order == 0 && (below & 1)) ? below + 1 : below;
}

/* A number token taken apart: digits * 10^exponent, with the sign aside. */
typedef struct decimal {
  uint64_t digits;      /* the first 19 significant ones */
  int64_t exponent;     /* of the last significant digit, that is of the last of `count` */
  size_t count;         /* significant digits, leading zeros aside */
  const uint8_t *first; /* of them; a point may be among the digits */
  bool negative, more;  /* more: of the digits from the 801st on, one is not zero */
  bool exponential;
} decimal;

/* Read the digits from p on. Returns the place behind them. */
static inline const uint8_t *read_digits(decimal *d, const uint8_t *p, const uint8_t *end) {
  if (d->count == 0) {
    while (p < end && *p == '0') p++;
    d->first = p;
  }
  for (uint64_t eight; end - p >= 8 && d->count <= 11 && are_digits(eight = toon_load64(p)); p += 8) {
    d->digits = d->digits * 100000000 + value_of_digits(eight);
    d->count += 8;
  }
  for (; p < end && toon_is_digit(*p); p++) {
    if (d->count < 19)
      d->digits = d->digits * 10 + (uint64_t)(*p - '0');
    else if (d->count >= DIGITS_KEPT && *p != '0')
      d->more = true;
    d->count++;
  }
  return p;
}

static decimal take_apart(const uint8_t *token, size_t len) {
  const uint8_t *p = token, *end = token + len;
  decimal d = {.negative = *p == '-'};
  p += d.negative;
  p = read_digits(&d, p, end);
  if (p < end && *p == '.') {
    const uint8_t *fraction = ++p;
    p = read_digits(&d, p, end);
    d.exponent = -(int64_t)(p - fraction);
  }
  if (p < end) { /* e */
    int64_t written = 0;
    d.exponential = true;
    p++;
    bool minus = *p == '-';
    if (*p == '+' || *p == '-') p++;
    for (; p < end; p++)
      if (written < 1000000000000) written = written * 10 + (*p - '0');
    d.exponent += minus ? -written : written;
  }
  return d;
}

/* The bits of the nearest double, without the sign. */
static uint64_t bits_of(const decimal *d) {
  if (d->count <= 19) {
    if (d->digits <= 1ull << 53 && d->exponent >= -22 && d->exponent <= 22) { /* both factors are exact doubles */
      static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
      double value =
          d->exponent < 0 ? (double)d->digits / powers[-d->exponent] : (double)d->digits * powers[d->exponent];
      return to_bits(value);
    }
    return nearest(d->digits, d->exponent);
  }
  int64_t cut = (int64_t)(d->count - 19);
  uint64_t low = nearest(d->digits, d->exponent + cut), high = nearest(d->digits + 1, d->exponent + cut);
  if (low == high) return low;
  size_t kept = d->count < DIGITS_KEPT ? d->count : DIGITS_KEPT;
  return nearest_of(low, d->first, kept, d->exponent + (int64_t)(d->count - kept), d->more);
}

double toon_number_value(const uint8_t *token, size_t len) {
  decimal d = take_apart(token, len);
  return from_bits(bits_of(&d) | (uint64_t)d.negative << 63);
}

/* ---- printing ---- */

static inline uint64_t round_to_odd(const uint64_t g[2], uint64_t cp) {
  unsigned __int128 x = (unsigned __int128)g[1] * cp;
  unsigned __int128 y = (unsigned __int128)g[0] * cp + (uint64_t)(x >> 64);
  return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

/* bits (finite, not zero, sign cleared) = *digits * 10^*exponent with the fewest digits. */
static void shortest(uint64_t bits, uint64_t *digits, int *exponent) {
  uint64_t fraction = bits & (HIDDEN_BIT - 1), c = fraction;
  int q = (int)(bits >> MANTISSA_BITS);
  bool closer_below = fraction == 0 && q > 1;
  if (q) {
    c |= HIDDEN_BIT;
    q -= 1023 + MANTISSA_BITS;
    if (q <= 0 && q > -53 && (c & ((1ull << -q) - 1)) == 0) { /* a small integer */
      *digits = c >> -q;
      *exponent = 0;
      return;
    }
  } else {
    q = 1 - 1023 - MANTISSA_BITS;
  }
  uint64_t open = c & 1; /* the interval's ends belong to it only if c is even */
  int k = (q * 1262611 - (closer_below ? 524031 : 0)) >> 22;
  int h = q + ((-k * 1741647) >> 19) + 1;
  uint64_t g[2] = {toon_pow10[-k - TOON_POW10_MIN][0], toon_pow10[-k - TOON_POW10_MIN][1]};
  if (-k < 0 || -k > 55) { /* not exact: rounded up */
    if (++g[1] == 0) g[0]++;
  }
  uint64_t lower = round_to_odd(g, (4 * c - 2 + closer_below) << h) + open;
  uint64_t middle = round_to_odd(g, (4 * c) << h);
  uint64_t upper = round_to_odd(g, (4 * c + 2) << h) - open;
  uint64_t s = middle / 4;
  if (s >= 10) {
    uint64_t tens = s / 10;
    bool down = lower <= 40 * tens, up = 40 * tens + 40 <= upper;
    if (down != up) {
      *digits = tens + up;
      *exponent = k + 1;
      return;
    }
  }
  bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
  *exponent = k;
  *digits = down != up ? s + up : s + (middle > 4 * s + 2 || (middle == 4 * s + 2 && (s & 1)));
}

size_t toon_number_print(double value, uint8_t out[TOON_NUMBER_TEXT_MAX]) {
  uint64_t bits = to_bits(value), digits;
  uint8_t *p = out;
  if (bits << 1 == 0) {
    *p = '0';
    return 1;
  }
  if (bits >> 63) *p++ = '-';
  int exponent;
  shortest(bits & ~(1ull << 63), &digits, &exponent);
  while (digits % 10 == 0) {
    digits /= 10;
    exponent++;
  }
  uint8_t text[20];
  int count = 0;
  for (; digits; digits /= 10) text[19 - count++] = (uint8_t)('0' + digits % 10);
  const uint8_t *d = text + 20 - count;
  int point = count + exponent; /* digits in front of the point */
  if (count <= point && point <= 21) {
    memcpy(p, d, (size_t)count);
    memset(p + count, '0', (size_t)(point - count));
    p += point;
  } else if (0 < point && point <= 21) {
    memcpy(p, d, (size_t)point);
    p[point] = '.';
    memcpy(p + point + 1, d + point, (size_t)(count - point));
    p += count + 1;
  } else if (-6 < point && point <= 0) {
    memcpy(p, "0.00000", 7);
    p += 2 - point;
    memcpy(p, d, (size_t)count);
    p += count;
  } else {
    *p++ = *d;
    if (count > 1) {
      *p++ = '.';
      memcpy(p, d + 1, (size_t)count - 1);
      p += count - 1;
    }
    *p++ = 'e';
    int e = point - 1;
    *p++ = e < 0 ? '-' : '+';
    if (e < 0) e = -e;
    if (e >= 100) *p++ = (uint8_t)('0' + e / 100);
    if (e >= 10) *p++ = (uint8_t)('0' + e / 10 % 10);
    *p++ = (uint8_t)('0' + e % 10);
  }
  return (size_t)(p - out);
}

toon_slice toon_number_text(const uint8_t *token, size_t len, uint8_t scratch[TOON_NUMBER_TEXT_MAX]) {
  decimal d = take_apart(token, len);
  uint64_t bits = bits_of(&d);
  if (bits == INFINITE_BITS) return TOON_SLICE_LIT("null");
  if (bits && !d.exponential) {
    bool whole = d.exponent == 0;
    if (whole && !memchr(token, '.', len)) return toon_slice_of(token, len); /* an integer keeps its digits */
    /* Digits as JavaScript has them are usually the shortest already: then nothing needs to be printed. */
    int64_t point = (int64_t)d.count + d.exponent;
    if (d.count <= 17 && point > -6 && point <= 21 && token[len - 1] != '0') {
      uint64_t digits;
      int exponent;
      shortest(bits, &digits, &exponent);
      if (digits == d.digits && exponent == d.exponent) return toon_slice_of(token, len);
    }
  }
  return toon_slice_of(scratch, toon_number_print(from_bits(bits | (uint64_t)d.negative << 63), scratch));
}
