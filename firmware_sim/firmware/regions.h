/* Region markers. The counting plugin watches these addresses: from the return of one marker to the call of the next,
 * everything that executes belongs to the marker's region. A marker itself is not counted, and costs a call on a real board. */
#ifndef REALM_REGIONS_H
#define REALM_REGIONS_H

void realm_region_outside(void);  /* board I/O, waiting, the loop itself */
void realm_region_frontend(void); /* one front-end tick per visit */
void realm_region_decoder(void);  /* one decoder step per visit */
void realm_region_send(void);     /* handing the output to the radio */
void realm_region_reset(void);    /* front end and decoder back to their initial state, once a segment */

#endif
