/* Words that threads read and write without a lock: each access is whole.
 *
 * Those of a number and a hint are in no order with others. A size is: who reads it sees all
 * that was stored before it. What no lock guards at all is a struct, so that no compiler takes
 * another access: a size, and the position. */
#ifndef YAMMAP_WORDS_H
#define YAMMAP_WORDS_H

#define relaxed_load(word) __atomic_load_n(word, __ATOMIC_RELAXED)
#define relaxed_store(word, value) __atomic_store_n(word, value, __ATOMIC_RELAXED)
#define relaxed_add(word, value) __atomic_add_fetch(word, value, __ATOMIC_RELAXED)

typedef struct {
    int64_t value;
} relaxed_offset;

#define relaxed_offset_load(offset) relaxed_load(&(offset)->value)
#define relaxed_offset_store(offset, number) relaxed_store(&(offset)->value, number)

typedef struct {
    Py_ssize_t value;
} ordered_size;

#define ordered_load(size) __atomic_load_n(&(size)->value, __ATOMIC_ACQUIRE)
#define ordered_store(size, number) __atomic_store_n(&(size)->value, number, __ATOMIC_RELEASE)

#endif
