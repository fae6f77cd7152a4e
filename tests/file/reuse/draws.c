/* Draws pages, and prints whether reuse.h takes them for rare: draws ROOM PAGES COUNT EXPONENT.
 * An exponent of 0 is uniform; else page k is drawn with a chance of k to the power of minus it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "_file/reuse.h"

static double *chances(size_t pages, double exponent)
{
    double *sums = calloc(pages + 1, sizeof(*sums));

    for (size_t i = 0; i < pages; i++)
        sums[i + 1] = sums[i] + pow(i + 1, -exponent);
    return sums;
}

static size_t draw(const double *sums, size_t pages)
{
    double wanted = drand48() * sums[pages];
    size_t low = 0, high = pages - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (sums[middle + 1] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int main(int count, char **arguments)
{
    static struct reuse sample;
    size_t pages = count > 4 ? strtoull(arguments[2], NULL, 10) : 1;
    double *sums = chances(pages, count > 4 ? atof(arguments[4]) : 0);

    reuse_begin(&sample, strtoull(arguments[1], NULL, 10));
    for (long i = atol(arguments[3]); i > 0; i--)
        reuse_read(&sample, draw(sums, pages) * 2654435761u);
    puts(reuse_is_rare(&sample) ? "rare" : "frequent");
    free(sums);
    return 0;
}
