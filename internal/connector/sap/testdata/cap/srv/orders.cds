using wire from '../db/schema';

// Five rows a page, so that eleven take three.
@cds.query.limit: { default: 5, max: 5 }
service API_ORDERS @(path: '/odata/v4/API_ORDERS') {
  entity A_Order   as projection on wire.Orders;
  entity A_Item    as projection on wire.Items;
  entity A_Partner as projection on wire.Partners;
}
